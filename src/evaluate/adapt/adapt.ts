/**
 * How a model is adapted to a domain, and what that is worth: the same questions to the model as it is, with the domain's
 * texts as memories, after fine-tuning on the same texts, and with the same texts as references in the prompt (RAG).
 *
 *   1. the texts into a bank: vectors (what RAG needs), then memories
 *   2. fine-tuning on the texts, merged into a model of its own
 *   3. each question to all arms, one behind the other, the first one being another each time: what the machine does beside
 *      hits them alike
 *
 * A run is a folder that survives kills:
 *
 *   config.json, answers.jsonl, summary.json   what is measured; a line for each question and arm; what it comes to
 *   times.jsonl, times.json                    all that differs between two runs of the same
 *   <domain>/bank.memory3, training/, merged/  the domain's bank, run (with its adapter) and merged matrices
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { openBank } from '../../bank/sqlite.ts';
import { onDisk, replaceFile } from '../../durable-file.ts';
import { checkOptions, Memory3Error } from '../../errors.ts';
import { openModelAndAdapter } from '../../generate/adapted-model.ts';
import { MemoryRecall, recalledMemories } from '../../generate/recall.ts';
import { identityOf, type OpenedModel, type OpenModelOptions, openModel } from '../../generate/workspace.ts';
import { defaultEmbedder, defaultLanguageModel } from '../../hub/catalogue.ts';
import { fetchModel } from '../../hub/fetch.ts';
import { mergeAdapter } from '../../memory/adapted-model.ts';
import type { Adapter } from '../../memory/adapter.ts';
import { profileIdentity } from '../../memory/choose-profile.ts';
import { LanguageModel } from '../../memory/model.ts';
import { longestBody } from '../../memory/profile.ts';
import { type Embedder, openEmbedder } from '../../retrieval/embedder.ts';
import type { RunEvent } from '../../train/log.ts';
import { fileHash } from '../eval/eval-folder.ts';
import { mostReferences } from '../eval/modes.ts';
import { openRecordFolder, type RecordFile } from '../record-folder.ts';
import { type Domain, type DomainQuestion, isSeen } from './domain.ts';
import { domainNamed } from './domains.ts';
import { fillBank } from './fill-bank.ts';
import { type DomainMaterial, readMaterial } from './material.ts';
import { type AdaptedParts, measureAnswer } from './measure.ts';
import { adaptationPage } from './page.ts';
import { type AnswerRecord, type Arm, answerSchema, arms, type TimeRecord, timeSchema } from './records.ts';
import { type ArmTimes, type DomainSummary, summariseArms, summariseTimes } from './summary.ts';
import { type Tuning, tune, tunedAdapter, tuningSettingsSchema } from './tune.ts';

export const adaptSettingsSchema = z.strictObject({
  /** Names of domains, in the order of the report. */
  domains: z.array(z.string()).nonempty(),
  /** Questions of each domain. */
  limit: z.int().min(1).default(100),
  /** Documents of each domain. */
  texts: z.int().min(1).default(20),
  /** References of each question, as memories and as text. */
  memories: z.int().min(1).max(mostReferences).default(recalledMemories),
  /** Draws documents and questions, begins the companions, and draws the intervals' samples. */
  seed: z.int().min(0).max(0xffff_ffff).default(0),
  training: tuningSettingsSchema.prefault({}),
});
export type AdaptSettings = z.input<typeof adaptSettingsSchema>;

/** What goes on. */
export type AdaptEvent = { readonly domain: string } & (
  | { readonly kind: 'index' | 'write' | 'answer'; readonly done: number; readonly total: number }
  | { readonly kind: 'training'; readonly steps: number; readonly event: RunEvent }
);

export interface AdaptRequest extends OpenModelOptions {
  /** The run's folder. */
  readonly folder: string;
  /** Where the data sets' folders are. */
  readonly data: string;
  readonly embedder?: string;
  readonly settings: AdaptSettings;
  /** Stops between two commits, steps or questions. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: AdaptEvent) => void;
}

/** What a domain came to. */
export interface DomainReport extends DomainSummary {
  readonly times: readonly ArmTimes[];
}

/** What all domains of a run share. */
interface Run {
  readonly request: AdaptRequest;
  readonly settings: z.output<typeof adaptSettingsSchema>;
  readonly opened: OpenedModel;
  readonly embedder: Embedder;
  readonly answers: RecordFile<AnswerRecord>;
  readonly times: RecordFile<TimeRecord>;
  readonly onEvent: (event: AdaptEvent) => void;
}

/**
 * Adapts to domains and measures, or goes on with it.
 * @throws Memory3Error "usage" for unknown domains or ones that are too small; "mismatch" if the folder is of another run;
 *   "not-found" or "damaged" for data; "locked"; "disk"; what opening throws; the signal's reason.
 * @example
 * const [policies] = await adapt({ folder: 'runs/adapt', data: 'data', settings: { domains: ['policies'] } });
 */
export async function adapt(request: AdaptRequest): Promise<DomainReport[]> {
  const settings = checkOptions(adaptSettingsSchema, request.settings);
  const chosen = settings.domains.map(domainNamed);
  const twice = settings.domains.find((name, index) => settings.domains.indexOf(name) !== index);
  if (twice !== undefined) throw new Memory3Error('usage', `The domain ${twice} is there twice.`);
  const files = chosen.flatMap((domain) => domain.files.map((name) => [name, fileHash(join(request.data, name))]));
  await using opened = await openModel(request);
  await using embedder = await openEmbedder(
    request.embedder ?? defaultEmbedder,
    opened.model.device,
    request.fetch ?? {},
  );
  const options = { ...settings, maxTokens: longestBody(opened.profile) };
  const materials = chosen.map((domain) => readMaterial(domain, request.data, opened.tokenizer, options));
  using folder = openRecordFolder(request.folder, {
    format: 'memory3 adaptation 1',
    config: {
      ...settings,
      data: Object.fromEntries(files),
      model: { name: opened.file.name, fingerprint: await opened.file.fingerprint() },
      profile: profileIdentity(opened.profile, opened.model),
      embedder: { name: embedder.name, fingerprint: embedder.fingerprint },
    },
  });
  const run: Run = {
    request,
    settings,
    opened,
    embedder,
    answers: folder.file('answers.jsonl', answerSchema),
    times: folder.file('times.jsonl', timeSchema),
    onEvent: request.onEvent ?? (() => {}),
  };
  const reports: DomainReport[] = [];
  let measured = 0;
  for (const [index, domain] of chosen.entries()) {
    const material = materials[index] as DomainMaterial;
    reports.push(await adaptToDomain(run, domain, material, measured));
    measured += material.questions.length * arms.length;
  }
  if (run.answers.records.length > measured) throw unexpected(request.folder, measured);
  folder.saveSummary(reports.map(({ times: _, ...summary }) => summary));
  const times = reports.map((report) => ({ domain: report.domain, arms: report.times }));
  const page = await adaptationPage(opened.file.name, reports);
  onDisk(folder.path, () => {
    replaceFile(folder.path, 'times.json', `${JSON.stringify(times, null, 2)}\n`);
    replaceFile(folder.path, 'report.html', page);
  });
  return reports;
}

/** @param first number of the domain's first answer among those of all domains */
async function adaptToDomain(run: Run, domain: Domain, material: DomainMaterial, first: number): Promise<DomainReport> {
  const { request, settings, opened, embedder, answers, times } = run;
  const folder = join(request.folder, domain.name);
  const references = material.texts.flatMap((text) => text.references);
  using bank = openBank(join(folder, 'bank.memory3'), { mode: 'write', identity: await identityOf(opened, embedder) });
  const done = { index: 0, write: 0 };
  await fillBank({ ...opened, bank, embedder }, material.texts, {
    ...(request.signal === undefined ? {} : { signal: request.signal }),
    onCommit: (time) => {
      times.append([{ ...time, domain: domain.name }]);
      done[time.kind] += time.references;
      run.onEvent({ kind: time.kind, domain: domain.name, done: done[time.kind], total: references.length });
    },
  });
  const training = join(folder, 'training');
  const tuning = await tuneOn(run, domain, material, training);
  const recall = new MemoryRecall({ ...opened, bank, embedder });
  await measureAll(run, domain, material.questions, first, async () => {
    const tuned = await openTuned(run, domain, folder, tunedAdapter(training));
    const parts = { ...opened, tuned: tuned.model, recall, memories: settings.memories };
    return { ...parts, [Symbol.asyncDispose]: () => tuned[Symbol.asyncDispose]() };
  });
  const text = references.reduce((sum, one) => sum + Buffer.byteLength(one.text), 0);
  const vectors = references.length * embedder.dimensions * Float32Array.BYTES_PER_ELEMENT;
  const rag = text + vectors;
  const bytes: Record<Arm, number> = { before: 0, memory: rag + bank.stats().memoryBytes, tuned: tuning.bytes, rag };
  const { seconds, ...trained } = tuning;
  const own = answers.records.slice(first, first + material.questions.length * arms.length);
  return {
    domain: domain.name,
    description: domain.description,
    seenInConversion: isSeen(domain, opened.adapter?.card ?? null),
    documents: material.texts.length,
    validationDocuments: material.validation.length,
    references: references.length,
    tokens: references.reduce((sum, { tokens }) => sum + tokens.length, 0),
    questions: material.questions.length,
    tuning: trained,
    arms: summariseArms(own, bytes, settings.seed),
    times: summariseTimes(
      times.records.filter((time) => time.domain === domain.name),
      references.length,
      seconds,
    ),
  };
}

async function tuneOn(
  { request, settings, opened, onEvent }: Run,
  { name, description }: Domain,
  { texts, validation }: DomainMaterial,
  folder: string,
): Promise<Tuning> {
  // The graphs that wrote memories are not needed while the training needs room.
  await opened.model.releaseSessions();
  const { provider, threads } = request;
  let steps = 0;
  return await tune({
    ...request,
    device: { ...(provider === undefined ? {} : { provider }), ...(threads === undefined ? {} : { threads }) },
    folder,
    texts: texts.map(({ text }) => text),
    validation: validation.map(({ text }) => text),
    settings: settings.training,
    seed: settings.seed,
    source: description,
    onBegin: (all) => {
      steps = all;
    },
    onEvent: (event) => onEvent({ kind: 'training', domain: name, steps, event }),
  });
}

interface TunedModel extends AsyncDisposable {
  readonly model: LanguageModel;
}

/** The fine-tuned model beside the other on the same device; its merging is timed once. */
async function openTuned({ request, opened, times }: Run, { name }: Domain, folder: string, adapter: string) {
  const cacheFolder = join(folder, 'merged');
  const isTimed = times.records.some(({ kind, domain }) => kind === 'merge' && domain === name);
  if (!isTimed) onDisk(folder, () => rmSync(cacheFolder, { recursive: true, force: true }));
  const path = await fetchModel(request.model ?? defaultLanguageModel, request.fetch);
  const started = performance.now();
  const { base, adapter: learned } = await openModelAndAdapter(path, { ...request, adapter });
  const file = mergeAdapter(base, learned as Adapter, { cacheFolder });
  if (!isTimed) times.append([{ kind: 'merge', domain: name, seconds: (performance.now() - started) / 1000 }]);
  const model = new LanguageModel(file, opened.model.device, {
    memoryLayers: opened.model.memoryLayers,
    summaryTokens: opened.model.summaryTokens,
    answerClassifier: opened.model.answerClassifier,
  });
  return {
    model,
    async [Symbol.asyncDispose]() {
      await model.releaseSessions();
      file[Symbol.dispose]();
    },
  } satisfies TunedModel;
}

/** Asks nothing of the domain: graphs are compiled, and the system has read what it reads once. */
const warmUp: DomainQuestion = { id: '', question: 'What is this about?', answers: ['Nothing.'], choices: null };

/** Asks all arms those questions that they have not answered yet. */
async function measureAll(
  { request, answers, times, onEvent }: Run,
  domain: Domain,
  questions: readonly DomainQuestion[],
  first: number,
  open: () => Promise<AdaptedParts & AsyncDisposable>,
): Promise<void> {
  const isKnown = (question: DomainQuestion, index: number) => {
    const at = first + index * arms.length;
    const there = answers.records.slice(at, at + arms.length);
    const wrong = there.findIndex(
      (record, i) => record.domain !== domain.name || record.id !== question.id || record.arm !== arms[i],
    );
    if (wrong !== -1) throw unexpected(request.folder, at + wrong);
    return there.length === arms.length;
  };
  const known = questions.findIndex((question, index) => !isKnown(question, index));
  if (known === -1) return;
  answers.keep(first + known * arms.length);
  await using parts = await open();
  for (const arm of arms) await measureAnswer(parts, arm, warmUp);
  for (const [index, question] of questions.entries()) {
    if (index < known) continue;
    request.signal?.throwIfAborted();
    const measured = new Map<Arm, AnswerRecord>();
    const taken: TimeRecord[] = [];
    for (const turn of arms.keys()) {
      const arm = arms[(index + turn) % arms.length] as Arm;
      const { record, seconds } = await measureAnswer(parts, arm, question);
      measured.set(arm, { domain: domain.name, ...record });
      if (!record.tooLong) taken.push({ kind: 'answer', domain: domain.name, id: question.id, arm, seconds });
    }
    // Times first: an answer that is there has its time.
    times.append(taken);
    answers.append(arms.map((arm) => measured.get(arm) as AnswerRecord));
    onEvent({ kind: 'answer', domain: domain.name, done: index + 1, total: questions.length });
  }
}

function unexpected(folder: string, record: number): Memory3Error {
  const where = `${join(folder, 'answers.jsonl')}, line ${record + 1}`;
  return new Memory3Error('damaged', `${where}: this answer is not expected here.`, {
    remedy: 'Adapt in another folder.',
  });
}
