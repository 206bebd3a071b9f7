/**
 * What building a bank for evaluation needs, small: its data sets with a few lines of our own, a tiny model, an embedder of
 * words. Run as a program it is the process that gets killed, and says on stdout what it has committed:
 *
 *   node test/support/bank-data.ts <parts> <data> <bank>
 */
import { writeSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { openBank } from '../../src/bank/sqlite.ts';
import { type BuildEvent, type BuildOptions, buildBank } from '../../src/evaluate/banks/build.ts';
import { type BankPlan, planBank } from '../../src/evaluate/banks/plan.ts';
import { identityOf, openModel } from '../../src/generate/workspace.ts';
import { tinyModelFolder, wordEmbedder } from './evaluation.ts';
import { type TemporaryFolder, temporaryFolder } from './temporary.ts';

/** Lines of a data file, as it stands on disk. */
export function lines(rows: readonly object[]): Uint8Array {
  return gzipSync(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}

const contexts = (count: number, text: (index: number) => string) =>
  Array.from({ length: count }, (_, index) => ({ context_id: `c/${index}`, title: 'The_thing', text: text(index) }));
const documents = (count: number, text: (index: number) => string) =>
  Array.from({ length: count }, (_, index) => ({ doc_id: `d${index}`, title: '', text: text(index) }));

/** 20 passages, so that their memories are more than one batch. */
const squad = contexts(20, (index) => `The theory of thing ${index} is the answer to question ${index}.`);

const files: Readonly<Record<string, readonly object[]>> = {
  'wiki_demo/all': documents(3, (index) => `Long is the article about ${index}. `.repeat(20)),
  'openstax_textbooks/biology': documents(2, (index) => `Cells are ${index}.`),
  'openstax_textbooks/anatomy': documents(2, (index) => (index === 0 ? ' \n' : 'Bones are hard.')),
  'squad/dev-v1.1.contexts': squad,
  'squad/dev-v2.0.contexts': squad.slice(0, 7),
  'xquad/test-en.contexts': squad.slice(3, 5).map((line, index) => ({ ...line, context_id: `en-${index}` })),
  'xquad/test-zh.contexts': contexts(1, () => '理论是答案。'),
  'nq_openbook_short/dev': [{ id: 'nq-0', question: 'Who?', context: 'It was the theory.', answers: ['the theory'] }],
  'policyqa/dev.contexts': contexts(1, () => 'We delete everything.'),
  'policyqa/test.contexts': contexts(1, () => 'We tell nobody.'),
  'cuad/contracts.contexts': contexts(5, (index) => `Contract ${index} ends in May.`),
  'pubmedqa/pqal': [{ id: '17', question: 'Does it?', contexts: ['We tried.', 'It did.'], long_answer: 'Yes.' }],
  'bioasq/golden_7b_11b': ['a', 'b'].map((id) => ({
    id,
    question: 'What?',
    snippets: [
      { text: 'Genes are read.', document: 'http://example.org/1' },
      { text: `Gene ${id} is not.`, document: 'http://example.org/2' },
    ],
  })),
  'lawbench/task_1-1': [{ id: 'law-0', question: '民法第一条的内容是什么？', answer: '答案:为了保护民事权益。' }],
};

/** A data folder. */
export function bankData(): TemporaryFolder {
  const folder = temporaryFolder();
  for (const [name, rows] of Object.entries(files)) folder.write(`${name}.jsonl.gz`, lines(rows));
  return folder;
}

/** Builds into the bank at a path, with the tiny model in the folder `parts`. */
export async function buildTinyBank(
  parts: string,
  path: string,
  plan: BankPlan,
  options: BuildOptions & { readonly onEvent?: (event: BuildEvent) => void } = {},
): Promise<BuildEvent[]> {
  await using opened = await openModel({ model: await tinyModelFolder(parts), adapter: null, threads: 1 });
  using bank = openBank(path, { mode: 'write', identity: await identityOf(opened, wordEmbedder) });
  const events: BuildEvent[] = [];
  for await (const event of buildBank({ ...opened, bank, embedder: wordEmbedder }, plan, options)) {
    events.push(event);
    options.onEvent?.(event);
  }
  return events;
}

if (import.meta.main) {
  const [parts, data, bank] = process.argv.slice(2) as [string, string, string];
  await buildTinyBank(parts, bank, planBank('general', data), {
    onEvent: (event) => writeSync(1, `${event.kind === 'progress' ? event.event.kind : event.kind}\n`),
  });
}
