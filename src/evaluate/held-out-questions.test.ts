import assert from 'node:assert/strict';
import { it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { byteLevelMetadata } from '../../test/support/small-tokenizer.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { seededRandom } from '../generate/sampling.ts';
import { tokenizerFromGguf } from '../model/tokenizer-gguf.ts';
import { isHeldOut } from '../train/conversion/held-out.ts';
import { readSplitQuestions } from './held-out-questions.ts';

it('reads what is held out, its own reference first and distinct others behind it', () => {
  const tokenizer = tokenizerFromGguf(byteLevelMetadata());
  const rows = Array.from({ length: 200 }, (_, i) => ({
    question: `who ${i}`,
    context: `Number ${i} was the work of Ann${i}.`,
    answers: [`Ann${i}`],
  }));
  using folder = temporaryFolder();
  folder.write('nq_openbook_short/dev.jsonl.gz', gzipSync(rows.map((row) => JSON.stringify(row)).join('\n')));
  const read = (distractors: number, limit: number) =>
    readSplitQuestions(folder.path, 'nq_openbook_short', 'held-out', tokenizer, {
      limit,
      distractors,
      random: seededRandom(1),
      maxTokens: 100,
    }).items;

  const items = read(4, 20);
  assert.equal(items.length, 20);
  const asked = new Set<string>();
  for (const [index, { question, answers, references }] of items.entries()) {
    assert.ok(isHeldOut({ set: 'nq_openbook_short', title: '', question }));
    assert.equal(references.length, 5);
    assert.equal(new Set(references.map(({ text }) => text)).size, 5);
    assert.ok(references[0]?.text.endsWith(` ${answers[0]}.`));
    if (index < 16) for (const { text } of references) asked.add(text);
  }
  // The first batch of 16 shares its references.
  assert.equal(asked.size, 16);
  assert.deepEqual(read(4, 20), items);
  assert.throws(() => read(100, 20), { code: 'usage', message: /passages/ });
});
