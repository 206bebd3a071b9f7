/**
 * Measures what a plan says into two folders. One is for the work, and large:
 *
 *   banks/<kind>-<model>     a bank of each kind for each model: memories are the model's own. They are written when they
 *                            are first recalled and stay in the bank
 *   <part>-<model>/          an evaluation's folder (`../eval/eval-folder.ts`), with a report of its own
 *
 * The other is small and kept with the page:
 *
 *   <part>-<model>/          a finished evaluation (`kept.ts`)
 *   throughput.json          `stored-throughput.ts`
 *   results.json             when something was measured last
 *
 * An evaluation goes on item by item after an interruption. What is kept is checked and not measured again, though neither
 * banks nor data are there any more.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { onDisk } from '../../durable-file.ts';
import { checkOptions, Memory3Error } from '../../errors.ts';
import type { OpenedModel, Workspace } from '../../generate/workspace.ts';
import { bankExtension } from '../../hub/home.ts';
import type { Embedder } from '../../retrieval/embedder.ts';
import { type BuildEvent, buildBank, finishedBank } from '../banks/build.ts';
import { withKnownVectors } from '../banks/known-vectors.ts';
import { planBank } from '../banks/plan.ts';
import { type EvaluationEvent, evaluate, evaluationOptionsSchema, identityOf } from '../eval/evaluate.ts';
import { parseModes } from '../eval/modes.ts';
import { keepRun, readKept } from './kept.ts';
import { type ModelName, modelNames, type Part, type PlannedRun, type ResultsPlan, runsOf } from './plan.ts';
import { saveDate } from './stored.ts';
import { storeThroughput } from './stored-throughput.ts';

/** How models are opened. */
export interface ResultsModels {
  /** With a bank, open for writing, by its path. */
  readonly withBank: (model: ModelName, bank: string) => Promise<Workspace>;
  readonly withEmbedder: (model: ModelName) => Promise<OpenedModel & { readonly embedder: Embedder }>;
  /** Threads of one run; 0: every core. */
  readonly threads: number;
}

export interface ResultsRequest {
  /** Banks and evaluations. */
  readonly out: string;
  /** What is finished. */
  readonly kept: string;
  /** Where the data sets' folders are. */
  readonly data: string;
  readonly plan: ResultsPlan;
  /** Names of the parts to measure; default all. */
  readonly parts?: readonly string[];
  /** Of which models; default both. */
  readonly only?: readonly ModelName[];
  readonly models: ResultsModels;
  readonly onNotice: (message: string) => void;
  readonly signal: AbortSignal;
}

export type ResultsEvent =
  | { readonly kind: 'bank'; readonly name: string; readonly event: BuildEvent }
  | { readonly kind: 'run'; readonly name: string; readonly event: EvaluationEvent }
  /** All of a part is measured, of the models that were wanted. */
  | { readonly kind: 'part'; readonly name: string };

/**
 * Measures, or goes on.
 * @throws Memory3Error "usage" for an unknown part; what building banks, evaluating and measuring throughput throw; the
 *   signal's reason.
 */
export async function* measureResults(request: ResultsRequest): AsyncGenerator<ResultsEvent, void> {
  const { out, kept, plan, only = modelNames, models, signal, onNotice } = request;
  const parts = chosenParts(request);
  onDisk(out, () => mkdirSync(join(out, 'banks'), { recursive: true }));
  onDisk(kept, () => mkdirSync(kept, { recursive: true }));
  for (const part of parts) {
    for (const run of runsOf(part, plan)) if (only.includes(run.model)) yield* measureRun(request, run);
    if (part.kind === 'throughput' && only.includes('converted')) {
      await using opened = await models.withEmbedder('converted');
      const subject = { opened, embedder: opened.embedder, threads: models.threads };
      const noticed = (message: string) => {
        signal.throwIfAborted();
        onNotice(message);
      };
      await storeThroughput(kept, part, subject, { onNotice: noticed, onStored: () => saveDate(kept) });
    }
    yield { kind: 'part', name: part.name };
  }
}

/** @throws Memory3Error "usage" that lists the parts if one is unknown; if nothing is chosen; for a limit of no task */
function chosenParts({ plan, parts: names, only = modelNames }: ResultsRequest): readonly Part[] {
  const { parts } = plan;
  const unknown = names?.find((name) => parts.every((part) => part.name !== name));
  if (unknown !== undefined) {
    const known = parts.map(({ name }) => name).join(', ');
    throw new Memory3Error('usage', `There is no part "${unknown}"; there are ${known}.`);
  }
  const tasks = new Set(parts.flatMap((part) => (part.kind === 'throughput' ? [] : part.tasks)));
  const untold = Object.keys(plan.limits).find((task) => !tasks.has(task));
  if (untold !== undefined) {
    throw new Memory3Error('usage', `There is a limit for ${untold}, which is not among the tasks.`, {
      remedy: `Leave it out, or name one of ${[...tasks].join(', ')}.`,
    });
  }
  const chosen = parts.filter(({ name }) => names === undefined || names.includes(name));
  const modelsOf = (part: Part): readonly ModelName[] =>
    part.kind === 'throughput' ? ['converted'] : runsOf(part, plan).map(({ model }) => model);
  const idle = chosen.every((part) => modelsOf(part).every((model) => !only.includes(model)));
  if (!idle) return chosen;
  throw new Memory3Error('usage', `Nothing of ${chosen.map(({ name }) => name).join(', ')} is of ${only.join(', ')}.`);
}

async function* measureRun(request: ResultsRequest, run: PlannedRun): AsyncGenerator<ResultsEvent, void> {
  const { out, kept, data, plan, models, signal } = request;
  const folder = join(out, run.name);
  const modes = parseModes(run.modes.join(','), 1);
  const options = {
    tasks: [...run.tasks],
    limit: plan.limit,
    limits: Object.fromEntries(Object.entries(plan.limits).filter(([task]) => run.tasks.includes(task))),
    heldOut: true,
    ...(run.overlap !== undefined && { overlap: run.overlap }),
  };
  if (!existsSync(folder) && existsSync(join(kept, run.name))) {
    await using opened = await models.withEmbedder(run.model);
    const { model, profile } = await identityOf(opened);
    const settings = checkOptions(evaluationOptionsSchema, options);
    const conditions = { ...settings, modes: modes.map(({ name }) => name), model, profile };
    if (readKept(kept, run.name, conditions) !== null) return;
  }
  const name = `${run.bank}-${run.model}`;
  const bankOf = (model: ModelName) => join(out, 'banks', `${run.bank}-${model}${bankExtension}`);
  const path = bankOf(run.model);
  const bankPlan = planBank(run.bank, data, plan.banks[run.bank]);
  const isBuilt = existsSync(path) && (await finishedBank(path, bankPlan, { memories: false })) !== null;
  await using workspace = await models.withBank(run.model, path);
  if (!isBuilt) {
    const other = modelNames.find((one) => one !== run.model) as ModelName;
    const embedder = withKnownVectors(workspace.embedder, bankOf(other));
    for await (const event of buildBank({ ...workspace, embedder }, bankPlan, { memories: false, signal })) {
      yield { kind: 'bank', name, event };
    }
  }
  const events = evaluate(workspace, {
    ...{ ...options, folder, data, modes, signal },
  });
  let isNew = false;
  try {
    for await (const event of events) {
      if (event.kind === 'batch') isNew = true;
      yield { kind: 'run', name: run.name, event };
    }
  } finally {
    if (isNew) saveDate(kept);
  }
  keepRun(kept, run.name, folder);
}
