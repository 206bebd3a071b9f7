/** Search over a real bank with the real embedder. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { MemoryBank } from '../bank/bank.ts';
import { openBank } from '../bank/sqlite.ts';
import { Device } from '../runtime/device.ts';
import { type Embedder, openEmbedder } from './embedder.ts';
import { type SearchMode, search } from './search.ts';

const documents = {
  whales: 'Blue whales are the largest animals that have ever lived on Earth.',
  oil: 'The oil crisis began in October 1973, when Arab producers proclaimed an embargo.',
  bread: 'Sourdough rises by wild yeast and lactic acid bacteria instead of baker’s yeast.',
  bolt: 'The spare part for the gearbox has the number QX-7741 and costs twelve euros.',
  bolts: 'Bolts and gearbox parts are listed in the catalogue with their prices.',
  chinese: '长江是亚洲最长的河流，全长约六千三百公里。',
  music: 'A string quartet consists of two violins, a viola and a cello.',
};

describe('search over a bank', () => {
  let folder: string;
  let device: Device;
  let embedder: Embedder;
  let bank: MemoryBank;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'memory3-search-'));
    device = new Device({ threads: 2 });
    embedder = await openEmbedder('all-minilm-l6-v2', device);
    const part = { name: 'none', fingerprint: '0'.repeat(64) };
    const { name, fingerprint, dimensions } = embedder;
    const identity = { model: part, profile: part, embedder: { name, fingerprint, dimensions } };
    bank = openBank(join(folder, 'bank.memory3'), { mode: 'write', identity });
    const vectors = await embedder.embedPassages(Object.values(documents));
    for (const [index, [name, text]] of Object.entries(documents).entries()) {
      const reference = { text, start: 0, end: text.length, tokens: [1], vector: vectors[index] as Float32Array };
      bank.putDocument({ name, title: null, mediaType: 'text/plain', text, references: [reference] });
    }
  });
  after(async () => {
    bank[Symbol.dispose]();
    await embedder[Symbol.asyncDispose]();
    await device[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  async function find(text: string, mode: SearchMode): Promise<string[]> {
    const [vector] = await embedder.embedQueries([text]);
    const hits = search(bank, { text, vector: vector as Float32Array }, { mode, count: 3 });
    return hits.map(({ referenceId }) => bank.reference(referenceId).documentName);
  }

  it('finds by meaning where no word is shared', async () => {
    const question = 'biggest sea creature';
    assert.equal((await find(question, 'vectors'))[0], 'whales');
    assert.deepEqual(await find(question, 'words'), []);
    assert.equal((await find(question, 'hybrid'))[0], 'whales');
  });

  it('finds by words what a sentence vector blurs', async () => {
    assert.equal((await find('QX-7741', 'words'))[0], 'bolt');
    assert.equal((await find('QX-7741', 'hybrid'))[0], 'bolt');
    assert.equal((await find('亚洲最长的河流', 'words'))[0], 'chinese');
  });

  it('puts first what both lists hold', async () => {
    const [vector] = await embedder.embedQueries(['When did the oil crisis begin?']);
    const query = { text: 'When did the oil crisis begin?', vector: vector as Float32Array };
    const [first, ...rest] = search(bank, query, { count: 5 });
    assert.equal(bank.reference(first?.referenceId as number).documentName, 'oil');
    assert.deepEqual([first?.vectors?.rank, first?.words?.rank, first?.score], [1, 1, 2 / 61]);
    assert.equal(rest.length, 4);
    assert.deepEqual(search(bank, query, { count: 5 }), [first, ...rest]);
  });
});
