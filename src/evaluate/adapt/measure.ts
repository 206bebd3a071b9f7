/**
 * One question by one arm: its answer, how long that took, and how likely the right answer was.
 *
 *   before   "Question: ...\nAnswer:"                       the model as it is
 *   memory   the same, with the memories recalled for it    the model as it is
 *   tuned    the same                                       the fine-tuned model
 *   rag      the same references as text in front           the model as it is
 *
 * The clock runs from the question to the last token of the greedy answer: search, loading of memories, reading of the
 * prompt and decoding; likelihoods are computed behind it. Questions are read one by one, as they are asked, so that no
 * answer depends on another.
 */
import type { StoredReference } from '../../bank/bank.ts';
import { referencesAsText } from '../../generate/prompt.ts';
import type { MemoryRecall } from '../../generate/recall.ts';
import { ReadingContext } from '../../memory/context.ts';
import type { LanguageModel } from '../../memory/model.ts';
import { type MemoryProfile, referenceTokens } from '../../memory/profile.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { containsAnswer, exactMatch, f1Score } from '../answers.ts';
import { type ContinuationLikelihood, continuationLikelihoods } from '../eval/continuations.ts';
import { choiceScores } from '../eval/metrics.ts';
import { greedyAnswers } from '../greedy.ts';
import { asked } from '../tasks/forms.ts';
import type { DomainQuestion } from './domain.ts';
import type { AnswerRecord, Arm, Scores } from './records.ts';

/** What answers. */
export interface AdaptedParts {
  readonly model: LanguageModel;
  readonly tuned: LanguageModel;
  readonly tokenizer: Tokenizer;
  readonly profile: MemoryProfile;
  readonly recall: Pick<MemoryRecall, 'find' | 'load'>;
  /** References of each question. */
  readonly memories: number;
}

/** What one arm said, and the seconds until it had said it. */
export interface MeasuredAnswer {
  readonly record: Omit<AnswerRecord, 'domain'>;
  readonly seconds: number;
}

const answerTokens = 32;

/** Asks one arm one question. */
export async function measureAnswer(
  parts: AdaptedParts,
  arm: Arm,
  { id, question, answers, choices }: DomainQuestion,
): Promise<MeasuredAnswer> {
  const { tokenizer, profile, recall, memories } = parts;
  const model = arm === 'tuned' ? parts.tuned : parts.model;
  const started = performance.now();
  const recalls = arm === 'memory' || arm === 'rag';
  const hits = recalls ? (await recall.find(question, memories)).hits : [];
  const references = hits.map(({ reference }) => reference);
  const before = arm === 'rag' ? referencesAsText(references.map(({ text }) => text)) : '';
  const prompt = [tokenizer.bosTokenId, ...tokenizer.encode(`${before}${asked(question)}`)];
  const behind = [answers[0], ...(choices ?? [])].map((text) => tokenizer.encode(` ${text}`, { continuation: true }));
  const common = {
    id,
    arm,
    references: references.map((reference) => reference.id),
    held: recalls ? holds(references, answers) : null,
    promptTokens: prompt.length,
  };
  const longest = prompt.length + Math.max(answerTokens, ...behind.map(({ length }) => length));
  const room = model.config.contextLength - (arm === 'memory' ? referenceTokens : 0);
  if (longest > room) return { record: { ...common, tooLong: true, answer: '', scores: {} }, seconds: 0 };
  const memory = arm === 'memory' ? { profile, memories } : null;
  await using context = await ReadingContext.open(model, { memory });
  if (memory !== null) await context.useMemories((await recall.load(hits)).map((one) => one.memory));
  const first = await context.extend([prompt]);
  const written = await greedyAnswers(context, tokenizer, first.data, { maxTokens: answerTokens, stop: '\n' });
  const seconds = (performance.now() - started) / 1000;
  const answer = written[0] as string;
  context.rewind(prompt.length - 1);
  const last = { prompt: prompt.slice(-1), continuations: behind };
  const [likelihoods] = (await continuationLikelihoods(context, [last])) as [ContinuationLikelihood[]];
  const [target, ...ofChoices] = likelihoods as [ContinuationLikelihood, ...ContinuationLikelihood[]];
  const scores: Scores = {
    nats: -target.logLikelihood / target.tokens,
    exact: exactMatch(answer, answers),
    f1: f1Score(answer, answers),
    ...(choices === null ? {} : accuracies(ofChoices, choices, answers[0])),
  };
  return { record: { ...common, tooLong: false, answer, scores }, seconds };
}

function accuracies(
  likelihoods: readonly ContinuationLikelihood[],
  choices: readonly string[],
  right: string,
): Pick<Scores, 'accuracy' | 'normalised-accuracy'> {
  const logLikelihoods = likelihoods.map(({ logLikelihood }) => logLikelihood);
  const scores = choiceScores(logLikelihoods, choices, [choices.indexOf(right)]);
  return { accuracy: scores.accuracy, 'normalised-accuracy': scores['normalised-accuracy'] };
}

function holds(references: readonly Pick<StoredReference, 'text'>[], answers: readonly string[]): boolean {
  return references.some(({ text }) => containsAnswer(text, answers) === 1);
}
