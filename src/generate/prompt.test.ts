import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { byteLevelMetadata } from '../../test/support/small-tokenizer.ts';
import type { ModelConfig } from '../model/config.ts';
import { tokenizerFromGguf } from '../model/tokenizer-gguf.ts';
import { checkLength, cutPrompt, withReferences } from './prompt.ts';

const tokenizer = tokenizerFromGguf(byteLevelMetadata());
const letters = (letter: string, count: number) => tokenizer.encode(letter.repeat(count));

describe('prompt chunks', () => {
  it('begin after the template’s first words, are 64 tokens long, and ask with their own content', () => {
    const tokens = [...letters('x', 4), ...letters('a', 64), ...letters('b', 64), ...letters('c', 64)];
    const { opening, chunks } = cutPrompt({ tokens, content: tokens.map((_, index) => index >= 4) }, tokenizer);
    assert.deepEqual(
      chunks.map(({ query }) => query),
      ['a'.repeat(64), 'b'.repeat(64), 'c'.repeat(64)],
    );
    assert.equal(opening.length, 4);
    assert.deepEqual([...opening, ...chunks.flatMap(({ tokens: own }) => own)], tokens);
  });

  it('ask with the last 64 content tokens up to their end where they are short', () => {
    const tokens = [...letters('a', 64), ...letters('x', 3), ...letters('b', 5)];
    const content = tokens.map((_, index) => index < 64 || index >= 67);
    assert.equal(cutPrompt({ tokens, content }, tokenizer).chunks.at(-1)?.query, 'a'.repeat(59) + 'b'.repeat(5));
  });

  it('ask with what came before where they are nothing but template words', () => {
    const tokens = [...letters('a', 10), ...letters('x', 54), ...letters('x', 64)];
    const { chunks } = cutPrompt({ tokens, content: tokens.map((_, index) => index < 10) }, tokenizer);
    assert.deepEqual(
      chunks.map(({ query }) => query),
      ['a'.repeat(10), 'a'.repeat(10)],
    );
  });

  it('ask nothing where nothing has been said', () => {
    const tokens = letters('x', 70);
    const { chunks } = cutPrompt({ tokens, content: tokens.map(() => false) }, tokenizer);
    assert.deepEqual(
      chunks.map(({ query }) => query),
      ['', ''],
    );
  });
});

describe('a prompt', () => {
  it('takes references as text before the last message', () => {
    const messages = [
      { role: 'user', content: 'one' },
      { role: 'assistant', content: 'two' },
      { role: 'user', content: 'three' },
    ] as const;
    assert.deepEqual(withReferences(messages, ['A', 'B']), [
      ...messages.slice(0, 2),
      { role: 'user', content: 'Reference: A\n\nReference: B\n\nthree' },
    ]);
  });

  it('is refused with both counts where it leaves no room for the answer', () => {
    const config = { contextLength: 256 } as ModelConfig;
    const prompt = { tokens: letters('a', 100), content: [] };
    checkLength(config, prompt, 28, true);
    assert.throws(() => checkLength(config, prompt, 29, true), {
      code: 'too-long',
      message: /100 tokens .* 29: .* 128 tokens/,
    });
    checkLength(config, prompt, 156, false);
  });
});
