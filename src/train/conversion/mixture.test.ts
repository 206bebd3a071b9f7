import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { byteLevelMetadata } from '../../../test/support/small-tokenizer.ts';
import { parseChatTemplate } from '../../model/chat-template.ts';
import { tokenizerFromGguf } from '../../model/tokenizer-gguf.ts';
import { bodyTokens } from '../../retrieval/chunks.ts';
import { contextKinds, type TrainingContext, type TrainingGroup } from './group.ts';
import type { Material, QuestionReference } from './material.ts';
import { kindShares, type MixtureOptions, openMixture } from './mixture.ts';

const tokenizer = tokenizerFromGguf(byteLevelMetadata());
const chatTemplate = parseChatTemplate(
  "{% for message in messages %}{% if message.role == 'user' %}[{{ message.content }}]{% else %}({{ message.content }})<|endoftext|>{% endif %}{% endfor %}" +
    '{% if add_generation_prompt %}({% endif %}',
);

function reference(name: string, questions: number): QuestionReference {
  const text = `${name} was built in ${1900 + questions} of stone`;
  return {
    text,
    tokens: bodyTokens(tokenizer, text),
    questions: Array.from({ length: questions }, (_, i) => ({ question: `${name} ${i}?`, answer: `stone ${name}` })),
  };
}

const article = (name: string) =>
  Array.from({ length: 80 }, (_, i) => `Sentence ${i} of ${name} says ${i * i}.`).join(' ');

const material: Material = {
  questions: new Map([
    ['squad', Array.from({ length: 9 }, (_, i) => reference(`Bridge${i}`, 1 + (i % 5)))],
    ['nq', Array.from({ length: 9 }, (_, i) => reference(`Mill${i}`, 1))],
  ]),
  documents: new Map([['openstax', [article('bees'), article('wasps')]]]),
  exchanges: new Map([
    ['dolly_hhrlhf', [{ prompt: 'Greet.', answer: 'Good day to you.' }]],
    ['triviaqa', [{ prompt: 'Who?', answer: 'Nobody' }]],
  ]),
  counts: {},
};
const options: MixtureOptions = {
  tokenizer,
  chatTemplate,
  contextTokens: 100,
  maxTokens: 100,
  seed: 7,
  mode: 'memory',
};

const groupsOf = (changes: Partial<MixtureOptions>, count = 20): TrainingGroup[] => {
  const stream = openMixture(material, { ...options, ...changes });
  return Array.from({ length: count }, (_, position) => stream.group(position));
};
const targetOf = ({ tokens, weights }: TrainingContext) => tokens.filter((_, index) => (weights[index] ?? 0) > 0);
const textOf = (tokens: readonly number[]) => tokenizer.decode(tokens, { special: true });

describe('the mixture', () => {
  it('has its shares of kinds, full references, weights that sum to 1 and begin behind the first token', () => {
    const groups = groupsOf({});
    const contexts = groups.flatMap((group) => group.contexts);
    assert.equal(contexts.length, 400);
    for (const kind of contextKinds) {
      const count = contexts.filter((context) => context.kind === kind).length;
      // A question too long for the template is asked without it.
      const slack = kind === 'question' || kind === 'chat-question' ? 20 : 1e-9;
      assert.ok(Math.abs(count - 400 * kindShares[kind]) <= slack, `${kind}: ${count}`);
    }
    for (const { references, contexts: own } of groups) {
      assert.equal(references.length, 8);
      assert.ok(references.every(({ length }) => length > 0 && length <= 100));
      assert.equal(new Set(references.map(String)).size, 8);
      for (const context of own) {
        assert.equal(context.tokens[0], tokenizer.bosTokenId);
        assert.ok(context.tokens.length <= (context.kind === 'text' ? 241 : 100));
        assert.equal(context.weights.length, context.tokens.length);
        assert.equal(context.weights[0], 0);
        assert.ok(Math.abs(context.weights.reduce((sum, weight) => sum + weight, 0) - 1) < 1e-9);
      }
    }
  });

  it('shows each context its own reference, half of the time among four others', () => {
    const shown = { one: 0, five: 0 };
    for (const { references, contexts } of groupsOf({})) {
      for (const context of contexts) {
        const seen = context.references.map((index) => textOf(references[index] as number[]));
        assert.equal(new Set(context.references).size, context.references.length);
        if (context.kind === 'plain' || context.kind === 'text') {
          assert.equal(seen.length, 0);
          continue;
        }
        assert.ok(seen.length === 1 || seen.length === 5);
        shown[seen.length === 1 ? 'one' : 'five']++;
        const text = textOf(context.tokens);
        const target = textOf(targetOf(context));
        const name = /(Bridge|Mill)\d/.exec(text)?.[0] ?? 'nothing';
        if (context.kind.endsWith('question')) {
          assert.ok(seen.some((one) => one.startsWith(` ${name} `)));
          assert.match(target, context.kind === 'question' ? /^ stone \w+\n$/ : /^stone \w+\)<\|endoftext\|>$/);
        }
        if (context.kind === 'gap') {
          const sentence = /Fill in the gap: (.*)\n/.exec(text)?.[1] as string;
          const whole = sentence.replace('___', target.trim());
          assert.notEqual(whole, sentence);
          assert.ok(seen.some((one) => one.includes(whole)));
        }
        if (context.kind === 'reconstruction') {
          const quoted = text.slice(text.indexOf('Quote:') + 'Quote:'.length);
          assert.ok(seen.some((one) => one.includes(quoted)));
        }
        if (context.kind === 'continuation') {
          assert.equal(target, text.slice(textOf([tokenizer.bosTokenId]).length));
          assert.ok(
            seen.some((one) =>
              [...material.documents.values()].flat().some((d) => d.includes(`${one.trim()}${target}`)),
            ),
          );
        }
      }
    }
    assert.ok(shown.one > 120 && shown.five > 120, JSON.stringify(shown));
  });

  it('is the same for the same seed and position, wherever it is resumed, and another for another seed', () => {
    const groups = groupsOf({});
    assert.deepEqual(openMixture(material, options).group(13), groups[13]);
    assert.notDeepEqual(groups[13], groups[12]);
    assert.notDeepEqual(openMixture(material, { ...options, seed: 8 }).group(13), groups[13]);
  });

  it('gives the baselines the same targets, without references or with their text in the prompt', () => {
    const [memory, none, rag] = (['memory', 'none', 'rag'] as const).map((mode) => groupsOf({ mode }));
    for (const [position, group] of (memory ?? []).entries()) {
      const without = none?.[position] as TrainingGroup;
      const asText = rag?.[position] as TrainingGroup;
      assert.deepEqual(
        without.contexts,
        group.contexts.map((context) => ({ ...context, references: [] })),
      );
      assert.deepEqual([...without.references, ...asText.references], []);
      for (const [index, context] of group.contexts.entries()) {
        const { tokens, weights, references } = asText.contexts[index] as TrainingContext;
        assert.deepEqual(targetOf({ ...context, tokens, weights }), targetOf(context));
        assert.deepEqual(references, []);
        const bodies = context.references.map((seen) => `Reference:${textOf(group.references[seen] as number[])}\n\n`);
        assert.ok(textOf(tokens).includes(bodies.join('')));
      }
    }
  });

  it('counts contexts that did not fit', () => {
    const cut = groupsOf({ contextTokens: 40 }, 4).reduce((sum, group) => sum + group.cut, 0);
    assert.ok(cut > 0);
    assert.equal(
      groupsOf({ contextTokens: 200 }, 4).reduce((sum, group) => sum + group.cut, 0),
      0,
    );
  });

  it('refuses groups with too few references, and positions that are none', () => {
    assert.throws(() => openMixture(material, { ...options, references: 4 }), { code: 'usage', message: /at least 6/ });
    assert.throws(() => openMixture({ ...material, questions: new Map() }, options), { code: 'usage' });
    assert.throws(() => openMixture(material, options).group(-1), { code: 'usage' });
  });
});
