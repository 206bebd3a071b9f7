/**
 * A survey of heads that is kept in a file, a measurement a line, so that one that was interrupted goes on where it
 * stopped. The first line says what was surveyed; another model, other texts or another n are refused.
 */
import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, readFileSync, truncateSync } from 'node:fs';
import { z } from 'zod';
import { onDisk } from '../durable-file.ts';
import { Memory3Error } from '../errors.ts';
import { readJsonLines } from '../json-lines.ts';
import type { LanguageModel } from '../memory/model.ts';
import {
  defaultLocalTokens,
  everyLayerAndHead,
  type Restricted,
  type SurveyEvent,
  type SurveyOptions,
  surveyHeads,
} from './head-survey.ts';
import { reportSurvey, type SurveyReport } from './survey-report.ts';

const surveyedSchema = z.strictObject({
  kind: z.literal('survey'),
  /** `ModelFile.fingerprint()` */
  model: z.string(),
  /** SHA-256 of the token ids. */
  texts: z.string(),
  sequences: z.int().positive(),
  length: z.int().positive(),
  localTokens: z.int().positive(),
});
type Surveyed = z.output<typeof surveyedSchema>;

const natural = z.int().nonnegative();
const baselineSchema = z.strictObject({ kind: z.literal('baseline'), nll: z.number(), tokens: natural });
const restrictedSchema = z.strictObject({
  kind: z.literal('restricted'),
  layer: natural,
  head: natural.nullable(),
  nll: z.number(),
  rise: z.number(),
  error: z.number(),
});
const lineSchema = z.discriminatedUnion('kind', [surveyedSchema, baselineSchema, restrictedSchema]);

/**
 * Surveys heads, or goes on with it. Events of earlier processes come first.
 * @param path of the file
 * @param fingerprint of the model
 * @throws Memory3Error "mismatch" if the file is of another survey, "damaged", "disk"; as `surveyHeads`.
 */
export async function* keptSurvey(
  path: string,
  fingerprint: string,
  model: LanguageModel,
  sequences: readonly (readonly number[])[],
  { localTokens = defaultLocalTokens, restricted = everyLayerAndHead(model) }: SurveyOptions = {},
): AsyncGenerator<SurveyEvent, void> {
  const surveyed: Surveyed = {
    kind: 'survey',
    model: fingerprint,
    texts: createHash('sha256').update(JSON.stringify(sequences)).digest('hex'),
    sequences: sequences.length,
    length: sequences[0]?.length ?? 0,
    localTokens,
  };
  const known = openLog(path, surveyed);
  yield* known;
  const missing = restricted.filter((one) => !known.some((event) => isSame(event, one)));
  if (missing.length === 0 && known.some(({ kind }) => kind === 'baseline')) return;
  for await (const event of surveyHeads(model, sequences, { localTokens, restricted: missing })) {
    if (event.kind === 'baseline' && known.some(({ kind }) => kind === 'baseline')) continue;
    append(path, event);
    yield event;
  }
}

/**
 * The report of a survey that was kept.
 * @param fingerprint of the model that it must be of
 * @throws Memory3Error "mismatch" for another model, "not-found", "damaged"; "usage" if it has not begun.
 */
export function readSurvey(path: string, fingerprint: string): SurveyReport {
  const [first, ...events] = readJsonLines(path, lineSchema);
  if (first?.kind !== 'survey') throw new Memory3Error('damaged', `${path} does not begin like a survey of heads.`);
  if (first.model !== fingerprint) throw new Memory3Error('mismatch', `${path} is a survey of another model.`);
  return reportOf(events.filter((event) => event.kind !== 'survey'));
}

/** @throws Memory3Error "usage" if there is no baseline among the events */
export function reportOf(events: readonly SurveyEvent[]): SurveyReport {
  const baseline = events.find((event) => event.kind === 'baseline');
  if (baseline === undefined) throw new Memory3Error('usage', 'The survey has not measured the model as it is.');
  const { kind: _, ...rest } = baseline;
  const measurements = events.flatMap((event) => {
    if (event.kind !== 'restricted') return [];
    const { kind: _, ...measurement } = event;
    return [measurement];
  });
  return reportSurvey(rest, measurements);
}

/** What the file has already, if it is of this survey; a line that was not finished is cut off and measured again. */
function openLog(path: string, surveyed: Surveyed): SurveyEvent[] {
  const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
  const first = `${JSON.stringify(surveyed)}\n`;
  if (!text.startsWith(first) && !first.startsWith(text)) {
    throw new Memory3Error('mismatch', `${path} is not the log of this survey: its first line is not the same.`, {
      remedy: 'Give the same model, texts and sizes as at first, or another file.',
    });
  }
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  if (whole !== text) onDisk(path, () => truncateSync(path, Buffer.byteLength(whole)));
  if (whole === '') append(path, surveyed);
  return readJsonLines(path, lineSchema).filter((line) => line.kind !== 'survey');
}

function append(path: string, line: z.output<typeof lineSchema>): void {
  onDisk(path, () => appendFileSync(path, `${JSON.stringify(line)}\n`, { flush: true }));
}

function isSame(event: SurveyEvent, { layer, head }: Restricted): boolean {
  return event.kind === 'restricted' && event.layer === layer && event.head === head;
}
