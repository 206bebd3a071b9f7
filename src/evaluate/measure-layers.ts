/**
 * The memory layers of a conversion, measured before it is trained: which heads look far back (`head-survey.ts`), then
 * memory with several choices of layers (`choose-layers.ts`). Both are kept in the run's folder, so a conversion that is
 * gone on with does not measure again and cannot come to another choice.
 */
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';
import { seededRandom } from '../generate/sampling.ts';
import type { OpenedModel } from '../generate/workspace.ts';
import { longestBody, memoryProfileSchema } from '../memory/profile.ts';
import { readDocuments } from '../train/data/readers.ts';
import { chooseLayers, layerCandidates } from './choose-layers.ts';
import { everyLayerAndHead, surveySequences } from './head-survey.ts';
import { readSplitQuestions } from './held-out-questions.ts';
import { keptSurvey, readSurvey } from './survey-log.ts';
import { carryingRange } from './survey-report.ts';

/** Long texts of the survey, and questions of the sweep. */
const surveyed = { count: 6, length: 384 };
const questions = 60;

const measuredSchema = z.looseObject({ chosen: z.object({ layers: memoryProfileSchema.shape.layers }) });

export interface MeasureLayersOptions {
  /** Folder of data sets (docs/training.md). */
  readonly data: string;
  /** The run's folder: `heads.jsonl` and `layers.json` are kept there. */
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly onNotice: (notice: string) => void;
}

/**
 * Measures and chooses, or reads what was chosen.
 * @returns layer numbers, ascending
 * @throws Memory3Error "damaged" if what was kept is not readable; whatever reading the data throws.
 */
export async function measureLayers(
  { model, tokenizer, file, profile, repeatPrompt }: OpenedModel,
  { data, folder, signal, onNotice }: MeasureLayersOptions,
): Promise<readonly [number, ...number[]]> {
  const kept = join(folder, 'layers.json');
  if (statSync(kept, { throwIfNoEntry: false }) !== undefined) return readMeasured(kept);
  mkdirSync(folder, { recursive: true });
  const fingerprint = await file.fingerprint();
  const heads = join(folder, 'heads.jsonl');
  const texts = await surveySequences(readDocuments([join(data, 'openstax_textbooks')]), tokenizer, surveyed);
  const restricted = everyLayerAndHead(model);
  let done = 0;
  for await (const event of keptSurvey(heads, fingerprint, model, texts.sequences, { restricted })) {
    signal.throwIfAborted();
    if (event.kind !== 'baseline' && ++done % 30 === 0) onNotice(`${done} of ${restricted.length} heads and layers`);
  }
  const carrying = carryingRange(readSurvey(heads, fingerprint), model.config).layers;
  const random = seededRandom(0);
  const { items } = readSplitQuestions(data, 'squad-v1.1', 'training', tokenizer, {
    ...{ limit: questions, distractors: 0, random, maxTokens: longestBody(profile) },
  });
  const { scoring, storage, header } = profile;
  const decision = await chooseLayers(
    model,
    tokenizer,
    [{ name: 'squad-v1.1', items }],
    layerCandidates(model.config.layers, carrying),
    {
      ...{ scoring, storage, header, repeatPrompt, signal, seed: 0 },
      onRow: ({ mode, layers, kept: count, nll }) =>
        onNotice(`${mode} ${layers ?? ''} ${count ?? ''}: ${nll.toFixed(3)} nats an answer token`),
    },
  );
  writeFileSync(`${kept}.unfinished`, JSON.stringify(decision, null, 1));
  renameSync(`${kept}.unfinished`, kept);
  return readMeasured(kept);
}

function readMeasured(path: string): readonly [number, ...number[]] {
  const text = readFileSync(path, 'utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Memory3Error('damaged', `${path} is not JSON.`, { remedy: 'Delete it to measure again.', cause });
  }
  const parsed = measuredSchema.safeParse(value);
  if (parsed.success) return parsed.data.chosen.layers as readonly [number, ...number[]];
  throw new Memory3Error('damaged', `${path} names no layers: ${z.prettifyError(parsed.error)}`, {
    remedy: 'Delete it to measure again.',
  });
}
