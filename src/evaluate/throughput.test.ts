/** Throughput of a tiny model, small: what is counted and what is loaded, not how fast. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { tinyModel } from '../../test/support/tiny-trained.ts';
import { type OpenedModel, openModel } from '../generate/workspace.ts';
import { defaultEmbedder } from '../hub/catalogue.ts';
import { longestBody } from '../memory/profile.ts';
import { type Embedder, openEmbedder } from '../retrieval/embedder.ts';
import { saveModel } from '../train/scratch/save-model.ts';
import { answerFlops, memoryShape } from './cost.ts';
import { measureThroughput, type ThroughputOptions, type ThroughputReport } from './throughput.ts';
import { throughputMaterial } from './throughput-material.ts';

async function withTinyModel(work: (opened: OpenedModel, embedder: Embedder) => Promise<void>): Promise<void> {
  using folder = temporaryFolder();
  const model = join(folder.path, 'model');
  const { config, files, tensors } = await tinyModel();
  saveModel(model, { config, tokenizer: files }, tensors);
  await using opened = await openModel({ model, threads: 1 });
  await using embedder = await openEmbedder(defaultEmbedder, opened.model.device);
  await work(opened, embedder);
}

test('a bank in which no memory is found twice, and texts of the lengths asked for', async () => {
  await withTinyModel(async (opened, embedder) => {
    const sizes = { sequences: 2, promptTokens: 66, newTokens: 3, references: 4 };
    using material = await throughputMaterial(opened, embedder, sizes);
    const { references, memories } = material.bank.stats();
    assert.deepEqual([references, memories], [8, 8]);
    const queries = ['the theory', 'the question'];
    material.forget();
    const first = await material.find(queries, 3);
    const second = await material.find(queries, 1);
    const ids = [...first, ...second].flat().map(({ id }) => id);
    assert.equal(new Set(ids).size, 8);
    await assert.rejects(material.find(queries, 1), /too small/);
    material.forget();
    assert.equal((await material.find(queries, 1)).flat()[0]?.id, ids[0]);
    for (const { tokens } of first.flat()) assert.ok(tokens.length >= longestBody(opened.profile) - 14);
    for (const { prompt, continuation } of material.texts) {
      assert.equal(prompt[0], opened.tokenizer.bosTokenId);
      assert.deepEqual([prompt.length, continuation.length], [66, 3]);
    }
    assert.notDeepEqual(material.texts[0], material.texts[1]);
    const lengths = [...material.bank.documents()]
      .flatMap(({ id }) => material.bank.references(id))
      .map(({ text }) => opened.tokenizer.encode(`Reference: ${text}\n\n`).length);
    assert.equal(material.referenceTextTokens, lengths.reduce((sum, length) => sum + length, 0) / 8);
  });
});

/** Bytes that this process has read, whether from a disk or from the system's copy; Linux only. */
function bytesRead(): number {
  return Number(/^rchar: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1]);
}

test('after each forgetting memories come from the file', { skip: !existsSync('/proc/self/io') }, async () => {
  await withTinyModel(async (opened, embedder) => {
    const sizes = { sequences: 1, promptTokens: 66, newTokens: 3, references: 4 };
    using material = await throughputMaterial(opened, embedder, sizes);
    for (let round = 0; round < 2; round++) {
      material.forget();
      const [found = []] = await material.find(['the theory'], 4);
      const before = bytesRead();
      const loaded = found.map(({ id }) => material.bank.memory(id) as Uint8Array);
      const bytes = loaded.reduce((sum, { length }) => sum + length, 0);
      assert.ok(bytes > 10_000 && bytesRead() - before >= bytes, `round ${round}: ${bytes} bytes of memories`);
    }
  });
});

test('every mode answers every batch; FLOPs are those of what was read', async () => {
  await withTinyModel(async (opened, embedder) => {
    const notices: string[] = [];
    const options: ThroughputOptions = {
      batches: [1, 3],
      references: [2],
      promptTokens: 66,
      // The second recall of new tokens comes after the 64th.
      newTokens: 67,
      rounds: 1,
      threads: 1,
      llamaCpp: true,
      onNotice: (notice) => notices.push(notice),
    };
    const { rows, bank, model } = await measureThroughput(opened, embedder, options);
    const reports: ThroughputReport[] = [];
    const earlier = rows.filter(({ batch }) => batch === 1);
    const onMeasured = (report: ThroughputReport) => reports.push(report);
    const later = await measureThroughput(opened, embedder, { ...options, earlier, onMeasured });
    assert.deepEqual(later.rows.slice(0, 3), earlier, 'not measured again');
    assert.deepEqual(
      reports.map((report) => report.rows.length),
      [6],
      'told after each batch that was measured',
    );
    assert.notDeepEqual(later.rows[3], rows[3]);
    assert.deepEqual(model, { name: opened.file.name, adapter: false });
    assert.deepEqual(
      rows.map(({ batch, engine, mode }) => [batch, engine, mode.kind]),
      [1, 3].flatMap((batch) => ['none', 'memory', 'rag'].map((kind) => [batch, 'memory3', kind])),
    );
    assert.equal(bank.references, 3 * (2 + 2) * 5);
    assert.ok(notices.some((notice) => notice.includes('GGUF files only')));
    for (const { batch, mode, promptTokens, tokensPerSecond, ratio, firstTokenMs, flops } of rows) {
      const plain = rows.find((row) => row.batch === batch)?.tokensPerSecond as number;
      assert.equal(ratio, tokensPerSecond / plain);
      assert.ok(firstTokenMs > 0 && firstTokenMs / 1000 < (batch * 67) / tokensPerSecond);
      const memory = mode.kind === 'memory' ? { shape: memoryShape(opened.profile), memories: 5 } : null;
      assert.equal(flops, answerFlops(opened.model.config, { promptTokens, newTokens: 67, memory }));
      if (mode.kind === 'rag') assert.ok(promptTokens > 66 + 2 * 100, `${promptTokens}`);
      else assert.equal(promptTokens, 66);
    }
    await assert.rejects(measureThroughput(opened, embedder, { ...options, references: [7] }), /do not fit the model/);
  });
});
