/** The survey against the plain transformer with the same heads restricted: tiny random models. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { heldInMemory, openFamily } from '../../test/support/families.ts';
import { type PlainOptions, runPlainTransformer, softmax } from '../../test/support/plain-transformer.ts';
import { byteLevelMetadata } from '../../test/support/small-tokenizer.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { LanguageModel, type ModelSource } from '../memory/model.ts';
import { tokenizerFromGguf } from '../model/tokenizer-gguf.ts';
import { Device } from '../runtime/device.ts';
import { everyLayerAndHead, type SurveyEvent, surveyHeads, surveySequences } from './head-survey.ts';
import { keptSurvey, readSurvey, reportOf } from './survey-log.ts';

const localTokens = 5;
const sequence = (first: number) => Array.from({ length: 14 }, (_, i) => (i === 0 ? 1 : (37 * i * i + first) % 128));
const sequences = [sequence(3), sequence(71)];
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Losses of the tokens behind the first query that something could be hidden from. */
function plainLosses(source: ModelSource, sees?: PlainOptions['sees']): number[] {
  return sequences.flatMap((tokens) => {
    const { logits } = runPlainTransformer(source, tokens, sees === undefined ? {} : { sees });
    return tokens
      .slice(localTokens + 2)
      .map((token, i) => -Math.log(softmax(logits[localTokens + 1 + i] as number[])[token] as number));
  });
}

async function collect(events: AsyncIterable<SurveyEvent>): Promise<SurveyEvent[]> {
  const all: SurveyEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

describe('a survey of heads', () => {
  for (const family of ['llama', 'mistral-window', 'qwen3']) {
    it(`is the plain transformer with that head's mask: ${family}`, async () => {
      using file = await openFamily(family);
      await using device = new Device({ threads: 1 });
      const model = new LanguageModel(file, device, { precision: 'f32' });
      const source = heldInMemory(file);
      const { layers, heads } = model.config;
      const [baseline, ...restricted] = await collect(surveyHeads(model, sequences, { localTokens }));

      const plain = plainLosses(source);
      assert.ok(baseline?.kind === 'baseline');
      assert.equal(baseline.tokens, plain.length);
      assert.ok(Math.abs(baseline.nll - mean(plain)) < 1e-5);
      assert.equal(restricted.length, layers * (heads + 1));
      for (const event of restricted) {
        assert.ok(event.kind === 'restricted');
        const hidden = plainLosses(
          source,
          (layer, head, query, key) =>
            layer !== event.layer ||
            (event.head !== null && head !== event.head) ||
            key === 0 ||
            key > query - localTokens,
        );
        const differences = hidden.map((nll, token) => nll - (plain[token] as number));
        const rise = mean(differences);
        const error = Math.sqrt(mean(differences.map((value) => (value - rise) ** 2)) / differences.length);
        const name = `layer ${event.layer}, head ${event.head}`;
        assert.ok(Math.abs(event.nll - mean(hidden)) < 1e-5, name);
        assert.ok(Math.abs(event.rise - rise) < 1e-5, `${name}: ${event.rise}, not ${rise}`);
        assert.ok(Math.abs(event.error - error) < 1e-5, name);
      }
      const rises = restricted.map((event) => (event.kind === 'restricted' ? event.rise : 0));
      assert.ok(new Set(rises).size > layers * heads, 'another rise for every head');
    });
  }

  it('is kept in a file: goes on after an interruption in the middle of a line, and is refused for anything else', async () => {
    using file = await openFamily('llama');
    await using device = new Device({ threads: 1 });
    const model = new LanguageModel(file, device, { precision: 'f32' });
    using folder = temporaryFolder();
    const path = join(folder.path, 'heads.jsonl');
    const survey = (texts = sequences, local = localTokens) =>
      collect(keptSurvey(path, 'a model', model, texts, { localTokens: local }));
    const whole = await survey();
    assert.equal(whole.length, 1 + everyLayerAndHead(model).length);
    const text = readFileSync(path, 'utf8');

    writeFileSync(path, text.slice(0, text.length / 2));
    assert.deepEqual(await survey(), whole);
    assert.equal(readFileSync(path, 'utf8'), text);
    assert.deepEqual(readSurvey(path, 'a model'), reportOf(whole));

    await assert.rejects(survey(sequences, localTokens + 1), { code: 'mismatch' });
    await assert.rejects(survey(sequences.slice(1)), { code: 'mismatch' });
    assert.throws(() => readSurvey(path, 'another model'), { code: 'mismatch' });
    const letter = folder.write('letter.txt', 'not a survey');
    await assert.rejects(collect(keptSurvey(letter, 'a model', model, sequences, { localTokens })), {
      code: 'mismatch',
    });
    assert.equal(readFileSync(letter, 'utf8'), 'not a survey');
  });

  it('is refused where nothing would be hidden, or for a head that is not there', async () => {
    using file = await openFamily('llama');
    await using device = new Device({ threads: 1 });
    const model = new LanguageModel(file, device);
    const first = (texts: readonly number[][], options = {}) =>
      surveyHeads(model, texts, { localTokens, ...options }).next();
    await assert.rejects(first([]), { code: 'usage', message: /no texts/ });
    await assert.rejects(first(sequences, { localTokens: 12 }), { code: 'usage', message: /Nothing is hidden in 14/ });
    await assert.rejects(first([sequence(1), [1, 2]]), { code: 'usage', message: /equal lengths/ });
    const restricted = [{ layer: 0, head: 99 }];
    await assert.rejects(first(sequences, { restricted }), { code: 'usage', message: /no head 99 of layer 0/ });
  });

  it('takes the first texts that are long enough', async () => {
    const tokenizer = tokenizerFromGguf(byteLevelMetadata());
    const texts = ['short', 'a long text of words', 'another text of words', 'never looked at'];
    const documents = texts.map((text) => ({ text }));
    const { sequences: taken, short } = await surveySequences(documents, tokenizer, { count: 2, length: 12 });
    assert.equal(short, 1);
    assert.deepEqual(
      taken,
      [1, 2].map((i) => [tokenizer.bosTokenId, ...tokenizer.encode(texts[i] as string)].slice(0, 12)),
    );
    await assert.rejects(surveySequences(documents, tokenizer, { count: 4, length: 12 }), {
      code: 'usage',
      message: /Only 3 of the texts have 12 tokens/,
    });
  });
});
