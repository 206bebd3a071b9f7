/** Multiple choice by likelihood against Hugging Face transformers (test/golden/README.md, choices.jsonl.gz), in f32. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { continuationLikelihoods, encodeContinuations } from '../../src/evaluate/eval/continuations.ts';
import { readJsonLines } from '../../src/json-lines.ts';
import { ReadingContext } from '../../src/memory/context.ts';
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

/** Read side by side, so that padding and the way back to the prompt are tested too. */
const batchSize = 4;

describe('multiple choice by likelihood', () => {
  for (const [task, all] of Map.groupBy(items, (item) => item.task)) {
    it(task, async () => {
      // A fifth of them: each takes a second in f32.
      const chosen = all.filter((_, index) => index % 5 === 0);
      for (let start = 0; start < chosen.length; start += batchSize) {
        const batch = chosen.slice(start, start + batchSize);
        await using reading = await ReadingContext.open(opened.model('f32'), { memory: null, batch: batch.length });
        const likelihoods = await continuationLikelihoods(
          reading,
          batch.map(({ context, choices }) => encodeContinuations(opened.tokenizer, context, choices)),
        );
        for (const [index, item] of batch.entries()) {
          for (const [choice, expected] of item.loglikelihood.entries()) {
            const difference = Math.abs((likelihoods[index]?.[choice]?.logLikelihood as number) - expected);
            assert.ok(difference < 0.02, `${item.context}: choice ${choice} is off by ${difference}`);
          }
        }
      }
    });
  }
});
