/** A comparison in plain words: the same on the terminal and in the report. */
import { taskNamed } from '../tasks/all.ts';
import type { ComparedRun, Comparison, EffectiveSize, OnlyOne } from './compare.ts';
import { meanOf } from './words.ts';

/** What a table of effective sizes says about its numbers. */
export const sizeFormula =
  'Effective size: (score with references - score without) / (score of the larger model without - score of this one without). ' +
  'So 51 % says that references do half of what the larger model does, and that this model is worth its own parameters and 51 % ' +
  "of the difference to the larger one's.";

/** What is not alike in the runs, a sentence each. */
export function notesOf({ here, there, rows, sizes, otherData, settings, ...only }: Comparison): string[] {
  return [
    ...[here, there].flatMap((run) =>
      run.complete ? [] : [`${run.name} is not finished: what it has so far is compared.`],
    ),
    ...noSize(here, there, sizes),
    ...onlyOne(here, only.onlyHere),
    ...onlyOne(there, only.onlyThere),
    ...(otherData.length === 0
      ? []
      : [`The data files of ${otherData.join(', ')} differ: their items are matched by their ids alone.`]),
    ...otherTokens(here, there, rows),
    ...settings.map(({ field, from, to }) => `${field}: ${said(from)} here, ${said(to)} there.`),
  ];
}

/** Why there is no effective size, where one might be expected. */
function noSize(here: ComparedRun, there: ComparedRun, { length }: Comparison['sizes']): string[] {
  const unknown = [here, there].filter(({ parameters }) => parameters === null).map(({ name }) => name);
  if (unknown.length > 0) return [`No effective size: ${unknown.join(' and ')} does not say its model's parameters.`];
  if (length > 0 || (there.parameters as number) <= (here.parameters as number)) return [];
  return ['No effective size: it needs items in the mode none in both runs, and in another mode here.'];
}

/** Models of other names may cut texts into other tokens. */
function otherTokens(here: ComparedRun, there: ComparedRun, rows: Comparison['rows']): string[] {
  const ofTexts = rows
    .filter(({ metric }) => metric === 'perplexity')
    .flatMap(({ tasks }) => tasks.filter((name) => taskNamed(name).kind === 'perplexity'));
  if (here.model === there.model || ofTexts.length === 0) return [];
  const names = [...new Set(ofTexts)].join(', ');
  return [`Perplexity of ${names} is per token: it compares only models with the same tokenizer.`];
}

function onlyOne({ name }: ComparedRun, { tasks, modes }: OnlyOne): string[] {
  return [
    ...(tasks.length === 0 ? [] : [`Only ${name} has the tasks ${tasks.join(', ')}.`]),
    ...(modes.length === 0 ? [] : [`Only ${name} has the modes ${modes.join(', ')}.`]),
  ];
}

/** "arc_easy", "mean of 5 tasks" */
export function placeName({ tasks }: { readonly tasks: readonly string[] }): string {
  return tasks.length === 1 ? (tasks[0] as string) : meanOf({ tasks });
}

/** "51 % (12 % to 95 %)", or why there is none. */
export function describeSize({ share }: EffectiveSize): string {
  if (share === null) return 'the larger model is not better beyond noise';
  return `${percent(share.value)} (${percent(share.low)} to ${percent(share.high)})`;
}

function percent(share: number): string {
  if (!Number.isFinite(share)) return share > 0 ? 'without bound' : '-without bound';
  return `${(share * 100).toFixed(0)} %`;
}

/** "134.5 M", "1.71 B" */
export function describeParameters(count: number | null): string {
  if (count === null) return '-';
  const [size, unit] = Math.abs(count) < 1e9 ? [count / 1e6, 'M'] : [count / 1e9, 'B'];
  return `${size.toPrecision(Math.abs(size) < 1 ? 2 : 4)} ${unit}`;
}

/** Fingerprints are cut: that they differ is enough. */
function said(value: unknown): string {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value) ? `${value.slice(0, 12)}...` : JSON.stringify(value);
}
