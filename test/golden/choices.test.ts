/** Multiple choice by likelihood against Hugging Face transformers (test/golden/README.md, choices.jsonl.gz), in f32. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { choiceLikelihoods } from '../../src/evaluate/ability.ts';
import { readJsonLines } from '../../src/json-lines.ts';
import { type DefaultModel, openDefaultModel } from '../support/model.ts';

const itemSchema = z.object({
  task: z.string(),
  context: z.string(),
  choices: z.array(z.string()),
  loglikelihood: z.array(z.number()),
});
const items = readJsonLines(fileURLToPath(new URL('choices.jsonl.gz', import.meta.url)), itemSchema);

let opened: DefaultModel;
before(async () => {
  opened = await openDefaultModel();
});
after(() => opened[Symbol.asyncDispose]());

describe('multiple choice by likelihood', () => {
  for (const [task, all] of Map.groupBy(items, (item) => item.task)) {
    it(task, async () => {
      // A fifth of them: each takes a second in f32.
      for (const item of all.filter((_, index) => index % 5 === 0)) {
        const likelihoods = await choiceLikelihoods(opened.model('f32'), opened.tokenizer, item);
        for (const [choice, expected] of item.loglikelihood.entries()) {
          const difference = Math.abs((likelihoods[choice] as number) - expected);
          assert.ok(difference < 0.02, `${item.context}: choice ${choice} is off by ${difference}`);
        }
      }
    });
  }
});
