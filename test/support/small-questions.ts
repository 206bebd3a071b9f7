/** Questions about one short reference in two sets, and a tokenizer whose ids a tiny random model knows. */
import type { QualitySet } from '../../src/evaluate/quality.ts';
import { tokenizerFromGguf } from '../../src/model/tokenizer-gguf.ts';
import { byteLevelMetadata } from './small-tokenizer.ts';

const whole = tokenizerFromGguf(byteLevelMetadata());
/** Ids beyond the tiny vocabulary (bos among them) are folded into it. */
const encode = (text: string) => whole.encode(text).map((id) => id % 128);

export const smallTokenizer = { ...whole, bosTokenId: 1, endTokenIds: [], encode };

const text = 'A BRIDGE OF 1887';
const references = [{ text, start: 0, end: text.length, tokens: encode(text) }];
const item = (question: string, answer: string) => ({ question, answers: [answer] as [string], references });

export const smallQuestions: readonly QualitySet[] = [
  { name: 'first', items: [item('WHEN', '1887'), item('WHAT', 'A BRIDGE')] },
  { name: 'second', items: [item('OF', '1887')] },
];
