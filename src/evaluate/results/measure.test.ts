/** All of the results' path with a tiny model and its adapter, on data sets of a few lines. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { cardFor, randomTensors } from '../../../test/support/adapter.ts';
import { evaluationData, tinyModelFolder, wordEmbedder } from '../../../test/support/evaluation.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import { openBank } from '../../bank/sqlite.ts';
import { MemoryRecall } from '../../generate/recall.ts';
import { identityOf, openModel, type Workspace } from '../../generate/workspace.ts';
import { writeAdapter } from '../../memory/adapter.ts';
import { openModelFile } from '../../model/open.ts';
import { readBankRecord } from '../banks/plan.ts';
import { readStoredRun } from '../eval/stored-run.ts';
import { measureResults, type ResultsEvent, type ResultsModels } from './measure.ts';
import { writeResultsPage } from './page.ts';
import { type ModelName, type Part, type ResultsPlan, resultsPlan, tinyPlan } from './plan.ts';
import { readResults } from './stored.ts';
import { readThroughput, type StoredThroughput } from './stored-throughput.ts';

/** Few tasks of each part; banks of the sources that the test's data has. */
function smallPlan(): ResultsPlan {
  const tasks: Record<string, [string, ...string[]]> = {
    general: ['arc_easy', 'wikitext2'],
    answers: ['squad'],
    hallucination: ['halluqa'],
    professional: ['medqa'],
    overlap: ['arc_easy'],
  };
  const plan = tinyPlan(resultsPlan);
  return {
    ...plan,
    banks: {
      general: { ...plan.banks.general, sources: ['xquad', 'nq_openbook_short'] },
      professional: { ...plan.banks.professional, sources: ['pubmedqa'] },
    },
    parts: plan.parts.map((part): Part => {
      const few = tasks[part.name];
      return part.kind === 'throughput' || few === undefined ? part : { ...part, tasks: few };
    }),
  };
}

let data: TemporaryFolder;
let folder: TemporaryFolder;
let models: ResultsModels;
const plan = smallPlan();
before(async () => {
  data = evaluationData();
  folder = temporaryFolder();
  // Merged adapters are kept among the models.
  process.env.MEMORY3_HOME = folder.path;
  const model = await tinyModelFolder(folder.path);
  const adapter = join(folder.path, 'adapter');
  {
    using base = await openModelFile(model);
    const names = base.weights.names.filter((name) => name.endsWith('q_proj.weight'));
    folder.write('adapter/.keep', '');
    writeAdapter(adapter, await cardFor(base), randomTensors(base, names, 2, 0.5), base.config);
  }
  const open = (name: ModelName) => openModel({ model, adapter: name === 'base' ? null : adapter, threads: 1 });
  models = {
    threads: 1,
    async withBank(name, path): Promise<Workspace> {
      const opened = await open(name);
      const bank = openBank(path, { mode: 'write', identity: await identityOf(opened, wordEmbedder) });
      const recall = new MemoryRecall({ ...opened, bank, embedder: wordEmbedder });
      return {
        ...{ ...opened, bank, recall, embedder: wordEmbedder },
        async [Symbol.asyncDispose]() {
          bank[Symbol.dispose]();
          await opened[Symbol.asyncDispose]();
        },
      };
    },
    withEmbedder: async (name) => ({ ...(await open(name)), embedder: wordEmbedder }),
  };
});
after(() => {
  folder[Symbol.dispose]();
  data[Symbol.dispose]();
});

interface Measuring {
  readonly parts?: readonly string[];
  readonly plan?: ResultsPlan;
  readonly kept?: string;
  readonly models?: ResultsModels;
  readonly only?: readonly ModelName[];
  /** Interrupts after so many batches. */
  readonly batches?: number;
}

async function measure(name: string, { batches, ...changes }: Measuring = {}): Promise<ResultsEvent[]> {
  const stop = new AbortController();
  const events: ResultsEvent[] = [];
  const paths = { out: join(folder.path, name), kept: join(folder.path, `${name}-kept`), data: data.path };
  const request = { ...paths, plan, models, onNotice: () => {}, ...changes };
  for await (const event of measureResults({ ...request, signal: stop.signal })) {
    events.push(event);
    const measured = events.filter((one) => one.kind === 'run' && one.event.kind === 'batch').length;
    if (measured === batches) stop.abort(new Error('stopped'));
  }
  return events;
}

function pageOf(name: string, kept = `${name}-kept`): string {
  const file = join(folder.path, `${name}.md`);
  writeResultsPage(file, readResults(join(folder.path, name), plan, join(folder.path, kept)));
  return readFileSync(file, 'utf8');
}

const batchesIn = (events: readonly ResultsEvent[]) =>
  events.filter((event) => event.kind === 'run' && event.event.kind === 'batch').length;

describe('results', () => {
  let whole: string;

  it('are measured part by part, each model with banks of its own, and written down', async () => {
    const events = await measure('whole');
    assert.deepEqual(
      events.flatMap((event) => (event.kind === 'part' ? [event.name] : [])),
      resultsPlan.parts.map(({ name }) => name),
    );
    assert.deepEqual(
      readdirSync(join(folder.path, 'whole', 'banks')).filter((name) => name.endsWith('.memory3')),
      ['general-base', 'general-converted', 'professional-base', 'professional-converted'].map(
        (name) => `${name}.memory3`,
      ),
    );
    const path = join(folder.path, 'whole', 'banks', 'general-converted.memory3');
    assert.deepEqual(
      readBankRecord(path)?.finished?.sources.map(({ source, documents }) => [source, documents]),
      [
        ['xquad', 2],
        ['nq_openbook_short', 2],
      ],
    );
    using bank = openBank(path, { mode: 'read' });
    const { memories, references } = bank.stats();
    assert.ok(memories > 0 && memories <= references, 'what was recalled is written, and kept');
    whole = pageOf('whole');
    assert.doesNotMatch(whole, /Not measured yet|NaN|undefined/);
    assert.ok(!whole.includes(folder.path) && !whole.includes(data.path), 'no path of this machine');
    assert.match(whole, /\| converted \| model \+ random \| .* \| with its adapter \|/);
    assert.match(whole, /Bank professional-converted: \d+ references of 1 documents/);
    assert.match(whole, /\| arc_easy \| 2 \| 0 of 2( \| \d+\.0){7} \|/);
    assert.match(whole, /\| 2 \| memory3 \| five memories a chunk \| 20 \|/);
  });

  it('are not measured again', async () => {
    const events = await measure('whole', { parts: ['general', 'throughput'] });
    assert.equal(batchesIn(events), 0);
    assert.deepEqual(
      events.filter(({ kind }) => kind === 'bank'),
      [],
    );
    assert.equal(pageOf('whole'), whole);
  });

  it('are kept: without the folder of the work nothing is measured again, and the page is the same', async () => {
    const kept = join(folder.path, 'whole-kept');
    const events = await measure('elsewhere', { kept });
    assert.deepEqual(new Set(events.map(({ kind }) => kind)), new Set(['part']));
    assert.equal(pageOf('elsewhere', 'whole-kept'), whole);
    const other = { ...plan, limit: 1 };
    await assert.rejects(measure('elsewhere', { kept, plan: other }), {
      code: 'mismatch',
      message: /general-base was measured otherwise: limit was 2, is 1/,
    });
    const swapped: ResultsModels = { ...models, withEmbedder: () => models.withEmbedder('converted') };
    await assert.rejects(measure('elsewhere', { kept, models: swapped }), {
      code: 'mismatch',
      message: /general-base was measured otherwise: model\.name was /,
    });
    const { records } = readStoredRun(join(kept, 'answers-converted'));
    assert.deepEqual(records, readStoredRun(join(folder.path, 'whole', 'answers-converted')).records);
    const words = readdirSync(kept).flatMap((name) =>
      name.endsWith('.json') ? [] : readdirSync(join(kept, name)).map((file) => `${file}`),
    );
    assert.deepEqual([...new Set(words)], ['config.json', 'items.jsonl.gz', 'summary.json'], 'no examples with texts');
  });

  it('go on where they were interrupted or cut off, and end the same', async () => {
    await assert.rejects(measure('parts', { parts: ['general'], only: ['converted'], batches: 3 }), /stopped/);
    assert.match(pageOf('parts'), /Not measured yet: the base model/);
    assert.match(pageOf('parts'), /Not measured yet, or not all of it: the converted model/);
    await measure('parts', { parts: ['general'] });
    assert.match(pageOf('parts'), /Not measured yet: the converted model/, 'other parts');
    const items = join(folder.path, 'parts', 'general-converted', 'items.jsonl');
    truncateSync(items, readFileSync(items).length - 7);
    rmSync(join(folder.path, 'parts', 'general-converted', 'summary.json'));
    assert.ok(batchesIn(await measure('parts', { parts: ['general'] })) > 0);
    const [general] = whole.split('## Written answers');
    assert.ok(general?.includes('remarks:general'));
    assert.equal(pageOf('parts').split('## Written answers')[0], general);
  });

  it('of throughput keep the batches that are measured, on the same machine', async () => {
    const kept = join(folder.path, 'kept-throughput');
    mkdirSync(kept);
    const path = join(kept, 'throughput.json');
    const done = readThroughput(join(folder.path, 'whole-kept'));
    assert.ok(done);
    const [first] = plan.parts.flatMap((part) => (part.kind === 'throughput' ? part.batches : []));
    const rows = done.report.rows.filter(({ batch }) => batch === first);
    const cut = { ...done, complete: false, report: { ...done.report, rows } };
    const again = () => measure('elsewhere', { kept, parts: ['throughput'] });
    writeFileSync(path, JSON.stringify({ ...cut, machine: { ...cut.machine, cores: 1000 } }));
    await assert.rejects(again(), { code: 'mismatch', message: /machine\.cores was 1000/ });
    writeFileSync(path, JSON.stringify(cut));
    await again();
    const { complete, report } = readThroughput(kept) as StoredThroughput;
    assert.ok(complete && report.rows.length === done.report.rows.length);
    assert.deepEqual(report.rows.slice(0, rows.length), rows);
  });

  it('refuse what would measure nothing, and limits of no task', async () => {
    await assert.rejects(measure('whole', { parts: ['throughput', 'overlap'], only: ['base'] }), {
      code: 'usage',
      message: 'Nothing of overlap, throughput is of base.',
    });
    await assert.rejects(measure('whole', { plan: { ...plan, limits: { arc_esay: 200 } } }), {
      code: 'usage',
      message: /limit for arc_esay/,
    });
  });

  it('refuse another plan in the same folder, and name what is another', async () => {
    const other = { ...plan, limit: 1 };
    await assert.rejects(measure('whole', { plan: other }), { code: 'mismatch', message: /limit was 2, is 1/ });
    const parts = plan.parts.map((part) => (part.kind === 'throughput' ? { ...part, newTokens: 4 } : part));
    await assert.rejects(measure('whole', { plan: { ...plan, parts }, parts: ['throughput'] }), {
      code: 'mismatch',
      message: /sizes\.newTokens was 3, is 4/,
    });
  });
});
