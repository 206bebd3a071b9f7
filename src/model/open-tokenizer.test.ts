import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openModelFile } from './open.ts';
import { tokenizerOf } from './open-tokenizer.ts';

const folder = fileURLToPath(new URL('../../test/golden/families/llama', import.meta.url));

test('a tokenizer with ordinary tokens beyond the embedding is refused, one with added tokens there is not', async () => {
  using file = await openModelFile(folder);
  const { vocabularySize, addedTokens } = tokenizerOf(file);
  const withRows = (rows: number) =>
    tokenizerOf({
      config: { ...file.config, vocabularySize: rows },
      path: file.path,
      tokenizerSource: () => file.tokenizerSource(),
    });
  const added = new Set(addedTokens.map(({ id }) => id));
  const lastOrdinary = Array.from({ length: vocabularySize }, (_, id) => id).findLast((id) => !added.has(id)) as number;
  assert.equal(withRows(lastOrdinary + 1).vocabularySize, vocabularySize);
  assert.throws(() => withRows(lastOrdinary), {
    code: 'damaged',
    message: new RegExp(`has ${vocabularySize} tokens, and its embedding ${lastOrdinary} rows`),
  });
});
