/** The transformer that tests compare with is itself compared: with Hugging Face's logits. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { familyCases, heldInMemory, openFamily } from '../support/families.ts';
import { runPlainTransformer } from '../support/plain-transformer.ts';

describe('the plain transformer', () => {
  // Together: grouped heads, scaled frequencies, untied head, bias, q/k norm, a window.
  for (const family of ['llama', 'llama-llama3', 'mistral-window', 'qwen2', 'qwen3-yarn']) {
    it(`gives the logits of ${family}`, async () => {
      using file = await openFamily(family);
      const model = heldInMemory(file);
      for (const { ids, first, logits } of familyCases(family)) {
        const result = runPlainTransformer(model, ids);
        for (const [row, expected] of logits.entries()) {
          for (const [token, logit] of expected.entries()) {
            const actual = result.logits[first + row]?.[token] as number;
            assert.ok(Math.abs(actual - logit) < 2e-4, `${ids.length} tokens, row ${row}, ${token}: ${actual} ${logit}`);
          }
        }
      }
    });
  }
});
