/**
 * memory3: a local language model that knows your texts, by explicit memory (Memory³, arXiv 2407.01178).
 *
 * The library's front door. Everything that a command does is done by these functions.
 *
 * @example
 * import { answer, openWorkspace } from 'memory3';
 *
 * await using workspace = await openWorkspace({ bank: 'notes' });
 * for await (const event of answer(workspace, [{ role: 'user', content: 'What did I write about bees?' }])) {
 *   if (event.kind === 'text') process.stdout.write(event.text);
 * }
 */
export type {
  BankIdentity,
  BankProblem,
  BankStats,
  MemoryBank,
  SearchHit,
  StoredDocument,
  StoredReference,
} from './bank/bank.ts';
export { rewriteBank } from './bank/rewrite.ts';
export { type OpenBankOptions, openBank } from './bank/sqlite.ts';
export { exportBank, importBank } from './bank/transfer.ts';
export { type ErrorCode, Memory3Error } from './errors.ts';
export { type AbilityRow, measureAbility } from './evaluate/ability.ts';
export { type AdaptRequest, adapt, type DomainReport } from './evaluate/adapt/adapt.ts';
export { type BuildEvent, type BuildOptions, buildBank, finishedBank } from './evaluate/banks/build.ts';
export { type BankPlan, type PlanOptions, planBank } from './evaluate/banks/plan.ts';
export { chooseLayers, type LayerDecision, type LayerSweepOptions, layerCandidates } from './evaluate/choose-layers.ts';
export {
  cheapestFormats,
  type KnowledgeCosts,
  knowledgeCosts,
  memoryShape,
  paperModel,
  paperTrainingTokens,
} from './evaluate/cost.ts';
export { measureCosts } from './evaluate/cost-measured.ts';
export { costPlot } from './evaluate/cost-plot.ts';
export { type DialogueRequest, evaluateDialogues } from './evaluate/dialogue/dialogue.ts';
export { openJudge } from './evaluate/dialogue/judge.ts';
export { type Comparison, compareRuns } from './evaluate/eval/compare.ts';
export { type EvaluationRequest, evaluate } from './evaluate/eval/evaluate.ts';
export { parseModes } from './evaluate/eval/modes.ts';
export { reportRun, summaryOf } from './evaluate/eval/report.ts';
export { readStoredRun, type StoredRun } from './evaluate/eval/stored-run.ts';
export {
  type ExplainedMemory,
  type ExplainedRecall,
  type ExplainOptions,
  type Explanation,
  explainAnswer,
} from './evaluate/explain.ts';
export { type ExplanationPage, explanationPage } from './evaluate/explanation-page.ts';
export { type FewerLayersOptions, type FewerLayersReport, fewerLayers } from './evaluate/fewer-layers.ts';
export { type SurveyEvent, type SurveyOptions, surveyHeads, surveySequences } from './evaluate/head-survey.ts';
export { readSplitQuestions } from './evaluate/held-out-questions.ts';
export { type LikelihoodSpeedReport, measureLikelihoodSpeed } from './evaluate/likelihood-speed.ts';
export { measureLayers } from './evaluate/measure-layers.ts';
export { measureQuality, type QualityRow, type QualitySet } from './evaluate/quality.ts';
export { type QuestionOptions, type QuestionSet, readQuestions } from './evaluate/questions.ts';
export { measureSpeed, type SpeedReport } from './evaluate/speed.ts';
export { keptSurvey, readSurvey, reportOf } from './evaluate/survey-log.ts';
export { carryingRange, type SurveyReport } from './evaluate/survey-report.ts';
export { measureThroughput, type ThroughputReport } from './evaluate/throughput.ts';
export { type AdaptedModel, openAdaptedModel, shippedAdapters } from './generate/adapted-model.ts';
export {
  type AnswerEvent,
  type Answerer,
  type AnswerOptions,
  type AnswerSummary,
  type AnswerTrace,
  answer,
  type Citation,
  type RecallEvent,
  type TracePiece,
} from './generate/answer.ts';
export { examine } from './generate/doctor.ts';
export {
  addDocuments,
  addSources,
  type LibraryEvent,
  rewriteLibrary,
  writeColdMemories,
} from './generate/library.ts';
export { MemoryRecall, type Recall, type RecalledMemory, type RecallOptions } from './generate/recall.ts';
export {
  identityOf,
  type OpenedModel,
  type OpenModelOptions,
  openModel,
  openWorkspace,
  type Workspace,
  type WorkspaceOptions,
} from './generate/workspace.ts';
export { type FetchOptions, fetchModel, listModels } from './hub/fetch.ts';
export { bankPath, banksFolder, modelsFolder } from './hub/home.ts';
export { type Adapter, openAdapter, readAdapterCard, writeAdapter } from './memory/adapter.ts';
export { type AdapterCard, adapterCardSchema } from './memory/adapter-card.ts';
export { type AverageOptions, averageAdapters } from './memory/average-adapters.ts';
export { chooseProfile, type ProfileChoice } from './memory/choose-profile.ts';
export { ReadingContext } from './memory/context.ts';
export { decodeMemory, type ExplicitMemory, encodeMemory } from './memory/format.ts';
export { LanguageModel } from './memory/model.ts';
export { longestBody, type MemoryProfile, memoryLayers } from './memory/profile.ts';
export { writeMemories } from './memory/writer.ts';
export { encodeChat, type Message } from './model/chat-template.ts';
export { type ModelFile, openModelFile } from './model/open.ts';
export type { Tokenizer } from './model/tokenizer.ts';
export { cutIntoChunks } from './retrieval/chunks.ts';
export { readSources } from './retrieval/documents.ts';
export { type Embedder, openEmbedder } from './retrieval/embedder.ts';
export { search } from './retrieval/search.ts';
export { Device, type DeviceOptions } from './runtime/device.ts';
export { adapterTensors } from './train/adapter-tensors.ts';
export { type ConversionOptions, type Converted, type ConvertRequest, convert } from './train/conversion/convert.ts';
export {
  type FitOptions,
  type FittedClassifier,
  fitAnswerClassifier,
  writeWithClassifier,
} from './train/conversion/fit-answers.ts';
export { type ReaderOptions, readDocuments, type TextDocument } from './train/data/readers.ts';
export {
  type FineTuningOptions,
  type FineTuningResult,
  fineTuneAnswers,
  fineTunePreferences,
} from './train/fine-tuning/fine-tune.ts';
export { type BatchResult, ModelTrainer, type ModelTrainerOptions } from './train/model-trainer.ts';
export { type EvaluateOptions, type Evaluation, evaluatePretraining } from './train/pretraining/evaluate.ts';
export { type PrepareOptions, prepareTraining } from './train/pretraining/prepared.ts';
export { runStage, type StageOptions, type StageResult } from './train/pretraining/stage.ts';
export { type RunOptions, type RunResult, runTraining } from './train/run.ts';
export type { StepResult, Trainable, TrainingState } from './train/trainable.ts';
