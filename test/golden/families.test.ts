/** Every family that loads, as a tiny random model made with Hugging Face transformers: the same logits. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ReadingContext } from '../../src/memory/context.ts';
import { LanguageModel } from '../../src/memory/model.ts';
import { openModelFile } from '../../src/model/open.ts';
import { Device } from '../../src/runtime/device.ts';

interface FamilyCases {
  readonly cases: readonly {
    readonly ids: readonly number[];
    /** Position of the first row of logits. */
    readonly first: number;
    readonly logits: readonly (readonly number[])[];
  }[];
}

const families = fileURLToPath(new URL('families/', import.meta.url));

describe('model families', () => {
  for (const family of readdirSync(families)) {
    for (const path of [`${families}${family}`, `${families}${family}/model.gguf`].filter((each) => existsSync(each))) {
      it(path.slice(families.length), () => checkFamily(family, path));
    }
  }
});

async function checkFamily(family: string, path: string): Promise<void> {
  const { cases } = JSON.parse(readFileSync(`${families}${family}/logits.json`, 'utf8')) as FamilyCases;
  using file = await openModelFile(path);
  await using device = new Device();
  const model = new LanguageModel(file, device, { precision: 'f32' });
  for (const { ids, first, logits } of cases) {
    await using context = await ReadingContext.open(model, { memory: null });
    const { data } = await context.extend([ids], 'all');
    const width = model.config.vocabularySize;
    for (const [row, expected] of logits.entries()) {
      const actual = data.subarray((first + row) * width, (first + row + 1) * width);
      for (const [token, logit] of expected.entries()) {
        assert.ok(Math.abs((actual[token] as number) - logit) < 1e-3, `${ids.length} tokens, row ${row}, logit ${token}`);
      }
    }
  }
}
