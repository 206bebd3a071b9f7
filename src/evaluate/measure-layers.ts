/**
 * The memory layers of a conversion, measured before it is trained: which heads look far back (`head-survey.ts`), then
 * memory with several choices of layers (`choose-layers.ts`). Both are kept in the run's folder, so a conversion that is
 * gone on with does not measure again and cannot come to another choice. What was measured of another model, by another
 * scoring or with other data is refused.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { differences, inWords } from '../differences.ts';
import { onDisk, replaceFile } from '../durable-file.ts';
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

/** What decides the choice. */
const measuredSchema = z.strictObject({
  /** `ModelFile.fingerprint()` */
  model: z.string(),
  scoring: memoryProfileSchema.shape.scoring,
  storage: memoryProfileSchema.shape.storage,
  /** SHA-256 of the texts and questions. */
  data: z.string(),
});
type Measured = z.output<typeof measuredSchema>;
const fileSchema = z.looseObject({
  measured: measuredSchema,
  chosen: z.object({ layers: memoryProfileSchema.shape.layers }),
});
const fileName = 'layers.json';

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
 * @throws Memory3Error "mismatch" if what was kept is of another model, scoring or data, or the folder's run measured none; "damaged" if it is not readable;
 *   whatever reading the data throws.
 */
export async function measureLayers(
  { model, tokenizer, file, profile, repeatPrompt }: OpenedModel,
  { data, folder, signal, onNotice }: MeasureLayersOptions,
): Promise<readonly [number, ...number[]]> {
  const kept = join(folder, fileName);
  const heads = join(folder, 'heads.jsonl');
  const fingerprint = await file.fingerprint();
  const texts = await surveySequences(readDocuments([join(data, 'openstax_textbooks')]), tokenizer, surveyed);
  const random = seededRandom(0);
  const { items } = readSplitQuestions(data, 'squad-v1.1', 'training', tokenizer, {
    ...{ limit: questions, distractors: 0, random, maxTokens: longestBody(profile) },
  });
  const { scoring, storage, header } = profile;
  const measured: Measured = { model: fingerprint, scoring, storage, data: fingerprintOf([texts.sequences, items]) };
  if (existsSync(kept)) return readMeasured(kept, measured);
  if (existsSync(join(folder, 'config.json'))) {
    throw new Memory3Error('mismatch', `The run ${folder} was begun with layers that were not measured in it.`, {
      remedy: 'Go on with what its config.json says (--layers, --mode or --from), or begin a run in another folder.',
    });
  }
  onDisk(folder, () => mkdirSync(folder, { recursive: true }));
  const restricted = everyLayerAndHead(model);
  let done = 0;
  for await (const event of keptSurvey(heads, fingerprint, model, texts.sequences, { restricted })) {
    signal.throwIfAborted();
    if (event.kind !== 'baseline' && ++done % 30 === 0) onNotice(`${done} of ${restricted.length} heads and layers`);
  }
  const survey = readSurvey(heads, fingerprint);
  // Where no head stands out of the noise the survey proposes nothing, and the other candidates are compared.
  const carrying = survey.carried === 0 ? undefined : carryingRange(survey, model.config).layers;
  if (carrying === undefined) onNotice('No head carries anything beyond noise.');
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
  onDisk(folder, () => replaceFile(folder, fileName, JSON.stringify({ measured, ...decision }, null, 1)));
  return readMeasured(kept, measured);
}

const unreadable = 'Delete it to measure again; a run that was begun goes on with the --layers of its config.json.';

function readMeasured(path: string, measured: Measured): readonly [number, ...number[]] {
  const text = readFileSync(path, 'utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Memory3Error('damaged', `${path} is not JSON.`, { remedy: unreadable, cause });
  }
  const parsed = fileSchema.safeParse(value);
  if (!parsed.success) {
    throw new Memory3Error('damaged', `${path} does not say what was measured: ${z.prettifyError(parsed.error)}`, {
      remedy: unreadable,
    });
  }
  const different = differences(parsed.data.measured, measured);
  if (different.length === 0) return parsed.data.chosen.layers as readonly [number, ...number[]];
  throw new Memory3Error('mismatch', `The layers in ${path} were measured otherwise: ${inWords(different)}.`, {
    remedy: 'Give what they were measured with, name --layers, or begin a run in another folder.',
  });
}

function fingerprintOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}
