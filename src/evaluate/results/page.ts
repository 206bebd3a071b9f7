/**
 * docs/results.md: made of what was measured (`stored.ts`), and of the remarks that stand in the page already. The same
 * files give the same page, byte for byte; what is not measured yet is said to be so, and nothing else is in its place.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { onDisk, replaceFile } from '../../durable-file.ts';
import { describeParameters } from '../eval/comparison-words.ts';
import type { StoredRun } from '../eval/stored-run.ts';
import { fewestPairs } from '../share.ts';
import { blocks, markdownList, markdownTable } from './markdown.ts';
import { type ModelName, modelNames, type Part, type ResultsPlan, runsOf } from './plan.ts';
import { type Remarks, readRemarks, remarksBlock } from './remarks.ts';
import type { Results } from './stored.ts';
import { overlapSection, tasksSection } from './task-section.ts';
import { throughputSection } from './throughput-section.ts';
import { dash } from './words.ts';

/** Where remarks about all of it stand. */
const allPlace = 'all';

/** The command that makes the page. */
const command = 'node scripts/results.ts --data data --out runs/results --docs docs/results.md';

/** The whole page. */
export function resultsPage(results: Results, remarks: Remarks = new Map()): string {
  const { plan } = results;
  return `${blocks(
    '# Results',
    'What explicit memory is worth to the default model on public tasks, as it comes ("base") and with its adapter ("converted"): against no references (none) and against the same references as text (RAG). The tables are the paper\'s, in our form.',
    `\`\`\`sh\n${command}\n\`\`\``,
    'makes this page, and goes on where it was interrupted. Without `--data` it writes the page anew from what is measured. What is finished is kept in `docs/results` with every item, and not measured again; in `runs/results` each evaluation has a `report.html`. What is measured stands in `src/evaluate/results/plan.ts`.',
    markdownList(legend(results)),
    modelTable(results),
    remarksBlock(allPlace, remarks),
    ...plan.parts.map((part) => blocks(sectionOf(part, results), remarksBlock(part.name, remarks))),
  )}\n`;
}

/**
 * Writes the page, with the remarks of the one that is there.
 * @throws Memory3Error as `readRemarks`; "disk"
 */
export function writeResultsPage(file: string, results: Results): void {
  const remarks = remarksOf(file, results.plan);
  onDisk(file, () => {
    mkdirSync(dirname(file), { recursive: true });
    replaceFile(dirname(file), basename(file), resultsPage(results, remarks));
  });
}

/**
 * The remarks of the page that is there: it could be written anew without losing any.
 * @throws Memory3Error as `readRemarks`; "disk"
 */
export function remarksOf(file: string, plan: ResultsPlan): Remarks {
  const there = onDisk(file, () => (existsSync(file) ? readFileSync(file, 'utf8') : null));
  return there === null ? new Map() : readRemarks(there, placesOf(plan), file);
}

function placesOf({ parts }: ResultsPlan): string[] {
  return [allPlace, ...parts.map(({ name }) => name)];
}

function legend({ measured }: Results): string[] {
  return [
    measured === null ? 'Nothing is measured yet.' : `Measured last on ${measured}.`,
    `Shares are in percent, ± half of the 95 % interval (bootstrap over items; none for fewer than ${fewestPairs} items, and ± 0.0 where all items came out alike). A cell that has not all items of its row says how many; ${dash} is not measured.`,
    `Differences are over the items that both have, resampled in pairs, with the 95 % interval; "within noise" means that it holds 0, or that a task has fewer than ${fewestPairs} items. In a mean each task counts the same; perplexities are in no mean, but count among better, worse and within noise.`,
    'Bold is a mode of the converted model that is better than all its others beyond noise, own passages aside.',
    '"Answer recalled": in how many items one of the recalled references holds a right answer, by chance too, where answers are texts. Below the comparisons the items are told apart by that, all tasks together, each item counting the same.',
  ];
}

/** What each model is: from any of its runs. */
function modelTable({ runs, plan }: Results): string | null {
  const runOf = (model: ModelName): StoredRun | undefined =>
    plan.parts
      .flatMap((part) => runsOf(part, plan))
      .filter((run) => run.model === model)
      .flatMap(({ name }) => runs.get(name) ?? [])[0];
  const rows = modelNames.flatMap((name) => {
    const run = runOf(name);
    if (run === undefined) return [];
    const { model, profile } = run.config;
    const parameters = describeParameters(model.parameters ?? null);
    return [[name, model.name, parameters, model.adapter ? 'with its adapter' : 'none', profile.name]];
  });
  return rows.length === 0
    ? null
    : markdownTable(['', 'model', 'parameters', 'adapter', 'memories'], rows, [0, 1, 3, 4]);
}

function sectionOf(part: Part, results: Results): string {
  switch (part.kind) {
    case 'tasks':
      return tasksSection(part, results);
    case 'overlap':
      return overlapSection(part, results);
    case 'throughput':
      return throughputSection(part, results.throughput);
  }
}
