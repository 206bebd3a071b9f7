import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { temporaryFolder } from '../../../test/support/temporary.ts';
import { defaultLanguageModel } from '../../hub/catalogue.ts';
import { modelPath } from '../../hub/fetch.ts';
import { type Message, parseChatTemplate } from '../../model/chat-template.ts';
import { openModelFile } from '../../model/open.ts';
import { openTokenizer } from '../../model/open-tokenizer.ts';
import { type ChatEncoding, encodeConversation, type TrainingSample } from './chat-examples.ts';
import { limitRounds, readConversations, readPreferences } from './conversations.ts';
import { encodePreference } from './preferences.ts';
import { recallQueries } from './recall-queries.ts';

let encoding: ChatEncoding;
before(async () => {
  using file = await openModelFile(await modelPath(defaultLanguageModel));
  const template = parseChatTemplate(file.chatTemplate ?? '');
  encoding = { template, tokenizer: openTokenizer(file.tokenizerSource()) };
});

const origin = 'chats.jsonl, line 1';

/** A conversation of these texts, the first a user's. */
function talk(...contents: string[]): Message[] {
  return contents.map((content, index) => ({ role: index % 2 === 0 ? 'user' : 'assistant', content }));
}

function written({ tokens }: TrainingSample): string {
  return encoding.tokenizer.decode([...tokens], { special: true });
}

/** The text with a loss, special tokens included. */
function learned({ tokens, weights }: TrainingSample): string {
  return encoding.tokenizer.decode(
    [...tokens].filter((_, i) => weights[i] === 1),
    { special: true },
  );
}

describe('readConversations', () => {
  it('reads the common forms', async () => {
    using folder = temporaryFolder();
    const system = { role: 'system', content: 'Be brief.' };
    const lines = [
      { id: 1, messages: [system, ...talk('Who?', 'She.')] },
      { instruction: 'Add.', input: '1 2', output: '3' },
      { instruction: 'Say hi.', input: '', output: 'Hi.' },
      { prompt: 'Where?', answers: ['Here.', 'There.'] },
    ];
    const text = `${lines.map((line) => JSON.stringify(line)).join('\n\n')}\n`;
    const files = [folder.write('a.jsonl', text), folder.write('b.jsonl.gz', gzipSync(text))];
    const read = await Array.fromAsync(readConversations(files));
    const expected = [
      [system, ...talk('Who?', 'She.')],
      talk('Add.\n\n1 2', '3'),
      talk('Say hi.', 'Hi.'),
      talk('Where?', 'Here.'),
    ];
    assert.deepEqual(
      read.map(({ messages }) => messages),
      [...expected, ...expected],
    );
    assert.equal(read[3]?.origin, `${files[0]}, line 7`);
  });

  it('names file, line and fault', async () => {
    using folder = temporaryFolder();
    const faults: readonly (readonly [line: string, message: RegExp])[] = [
      ['{"text": "x"}', /none of the fields "messages", "instruction", "prompt"/],
      ['{"text": "x"}', /\nA line has .*docs\/fine-tuning\.md/],
      ['{"prompt": "a", "chosen": "b", "rejected": "c"}', /line 2: it has .*"chosen".* `memory3 train dpo`\nA line/],
      [
        JSON.stringify({ messages: talk('a'), chosen: 'b', rejected: 'c' }),
        /line 2: it has .* `memory3 train dpo`\nA line/,
      ],
      ['{"messages": []}', /of the user/],
      [JSON.stringify({ messages: talk('Who?') }), /of the assistant/],
      [JSON.stringify({ messages: [...talk('a', 'b').reverse(), ...talk('c', 'd')] }), /must be of the user/],
      [
        JSON.stringify({ messages: [talk('a')[0], { role: 'system', content: 'b' }, talk('c', 'd')[1]] }),
        /only be the first/,
      ],
      [JSON.stringify({ messages: [{ role: 'tool', content: 'x' }] }), /role/],
      ['{"instruction": "Add.", "output": " "}', /it is empty[\s\S]*output/],
      ['{"prompt": "Where?", "answers": []}', /answers/],
      ['{"prompt": "Where?", "answers": ["\\ud800"]}', /half a surrogate pair/],
      ['{"prompt"', /not JSON/],
    ];
    for (const [index, [line, message]] of faults.entries()) {
      const file = folder.write(`${index}.jsonl`, `{"prompt": "a", "answers": ["b"]}\n${line}\n`);
      await assert.rejects(Array.fromAsync(readConversations([file])), (error: Error) => {
        assert.ok(error.message.startsWith(`${file}, line 2: `), error.message);
        assert.match(error.message, message);
        return true;
      });
    }
    await assert.rejects(Array.fromAsync(readConversations(['nowhere.jsonl'])), { code: 'not-found' });
  });

  it('keeps eight rounds and says how many it cut', async () => {
    using folder = temporaryFolder();
    const long = talk(...Array.from({ length: 20 }, (_, i) => `text ${i}`));
    const file = folder.write('long.jsonl', JSON.stringify({ messages: long }));
    const [last] = await Array.fromAsync(readConversations([file]));
    assert.deepEqual(last, { messages: long.slice(4), cutRounds: 2, origin: `${file}, line 1` });
    const system: Message = { role: 'system', content: 'Be brief.' };
    assert.deepEqual(limitRounds([system, ...long], { rounds: 1 }), {
      messages: [system, ...long.slice(18)],
      cutRounds: 9,
    });
    const [a, b, c, d] = talk('a', 'b', 'c', 'd') as [Message, Message, Message, Message];
    assert.deepEqual(limitRounds([a, a, b, b, c, d, a, b], { rounds: 2 }).messages, [c, d, a, b]);
    assert.deepEqual(limitRounds(long, { rounds: 10 }), { messages: long, cutRounds: 0 });
  });
});

describe('encodeConversation', () => {
  it('has a loss on answers and their end tokens only', () => {
    const sample = encodeConversation(encoding, talk('One?', 'First.', 'Two?', 'Second.'), { origin });
    assert.ok(written(sample).endsWith('<|im_start|>user\nTwo?<|im_end|>\n<|im_start|>assistant\nSecond.<|im_end|>'));
    assert.equal(learned(sample), 'First.<|im_end|>Second.<|im_end|>');
    assert.equal(sample.tokens[0], encoding.tokenizer.bosTokenId);
    const onlyLast = encodeConversation(encoding, talk('One?', 'First.', 'Two?', 'Second.'), {
      answers: 'last',
      origin,
    });
    assert.deepEqual(onlyLast.tokens, sample.tokens);
    assert.equal(learned(onlyLast), 'Second.<|im_end|>');
    const contents = [...sample.tokens].filter((_, i) => sample.content[i] === 1);
    assert.equal(encoding.tokenizer.decode(contents), 'One?First.Two?Second.');
  });

  it('learns exactly the answers, whatever the texts are', () => {
    const { tokenizer } = encoding;
    const text = fc
      .array(fc.constantFrom('<|im_end|>', '<|im_start|>assistant\n', ' ', '\n', 'yes', 'Größe', '雨'), {
        minLength: 1,
      })
      .map((parts) => parts.join(''))
      .filter((joined) => joined.trim() !== '');
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 4 }), (rounds) => {
        const sample = encodeConversation(encoding, talk(...rounds.flat()), { origin });
        assert.equal(sample.weights[0], 0);
        assert.equal(sample.weights.length, sample.tokens.length);
        assert.equal(learned(sample), rounds.map(([, answer]) => `${answer.trim()}<|im_end|>`).join(''));
        const ends = [...sample.tokens].filter((id, i) => sample.weights[i] === 1 && tokenizer.isSpecial(id));
        assert.equal(ends.length, rounds.length);
      }),
      { numRuns: 100 },
    );
  });

  it('ends an answer of the plain template with an end token', () => {
    const sample = encodeConversation({ ...encoding, template: null }, talk('Who?', 'She.'), { origin });
    assert.equal(written(sample), '<|im_start|>Question: Who?\nAnswer: She.<|im_end|>');
    assert.equal(learned(sample), ' She.<|im_end|>');
  });

  it('counts what a template puts between an answer and its end', () => {
    const template = parseChatTemplate(
      "{% for m in messages %}{{ m.role + ': ' + m.content + '\n<|im_end|>\n' }}{% endfor %}",
    );
    const sample = encodeConversation({ ...encoding, template }, talk('Who?', 'She.'), { origin });
    assert.equal(learned(sample), ' She.\n<|im_end|>');
  });

  it('refuses templates that rewrite messages or leave them out, naming the line', () => {
    const rewriting = parseChatTemplate(
      "{% for m in messages %}{{ m.content | upper }}{% if 'x' in m.content %}!{% endif %}{% endfor %}",
    );
    assert.throws(() => encodeConversation({ ...encoding, template: rewriting }, talk('x', 'y'), { origin }), {
      code: 'unsupported',
      message: /^chats\.jsonl, line 1: .*rewrites/,
    });
    const strict = parseChatTemplate("{{ raise_exception('Roles must alternate') }}");
    assert.throws(() => encodeConversation({ ...encoding, template: strict }, talk('a', 'b'), { origin }), {
      code: 'usage',
      message: /^chats\.jsonl, line 1: .*Roles must alternate/,
    });
    const leaving = parseChatTemplate(
      "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}",
    );
    assert.throws(() => encodeConversation({ ...encoding, template: leaving }, talk('a', 'b'), { origin }), {
      code: 'unsupported',
      message: /^chats\.jsonl, line 1: .*leaves out message 2/,
    });
  });
});

describe('preferences', () => {
  it('are read in their forms', async () => {
    using folder = temporaryFolder();
    const messages = talk('One?', 'First.', 'Two?');
    const lines = [
      { messages, chosen: 'Good.', rejected: 'Bad.' },
      { prompt: 'Who?', chosen: { role: 'assistant', content: 'She.' }, rejected: 'He.' },
    ];
    const file = folder.write('a.jsonl', lines.map((line) => JSON.stringify(line)).join('\n'));
    assert.deepEqual(await Array.fromAsync(readPreferences([file])), [
      { messages, chosen: 'Good.', rejected: 'Bad.', cutRounds: 0, origin: `${file}, line 1` },
      { messages: talk('Who?'), chosen: 'She.', rejected: 'He.', cutRounds: 0, origin: `${file}, line 2` },
    ]);
    const [short] = await Array.fromAsync(readPreferences([file], { rounds: 1 }));
    assert.deepEqual([short?.messages, short?.cutRounds], [talk('Two?'), 1]);
    const broken = folder.write('b.jsonl', JSON.stringify({ messages: talk('a', 'b'), chosen: 'x', rejected: '' }));
    await assert.rejects(Array.fromAsync(readPreferences([broken])), {
      code: 'damaged',
      message: /line 1: [\s\S]*of the user/,
    });
    const asked = { prompt: 'Who?', chosen: { role: 'user', content: 'Who are you?' }, rejected: 'He.' };
    const misplaced = folder.write('c.jsonl', JSON.stringify(asked));
    await assert.rejects(Array.fromAsync(readPreferences([misplaced])), {
      code: 'damaged',
      message: /line 1: [\s\S]*message of the assistant/,
    });
    for (const row of [
      { prompt: 'a', answers: ['b'] },
      { instruction: 'a', output: 'b' },
      { messages: talk('a', 'b') },
    ]) {
      await assert.rejects(Array.fromAsync(readPreferences([folder.write('d.jsonl', JSON.stringify(row))])), {
        code: 'damaged',
        message: /line 1: it has neither .* `memory3 train sft`\nA line has .*docs\/fine-tuning\.md/,
      });
    }
  });

  it('have a loss on the last answer only', () => {
    const preference = { messages: talk('One?', 'First.', 'Two?'), cutRounds: 0, origin };
    const pair = encodePreference(encoding, { ...preference, chosen: 'Good.', rejected: 'Bad, bad.' });
    assert.equal(learned(pair.chosen), 'Good.<|im_end|>');
    assert.equal(learned(pair.rejected), 'Bad, bad.<|im_end|>');
    assert.equal(pair.identical, false);
    assert.equal(encodePreference(encoding, { ...preference, chosen: 'Same.', rejected: 'Same.' }).identical, true);
  });
});

describe('recallQueries', () => {
  const words = (count: number, word: string) => Array.from({ length: count }, () => word).join(' ');

  it('has the texts of 64 tokens each, without template words', () => {
    const sample = encodeConversation(encoding, talk(words(150, 'rain'), 'Yes.'), { origin });
    const queries = recallQueries(sample, encoding.tokenizer);
    assert.equal(queries.length, Math.ceil(sample.tokens.length / 64));
    for (const query of queries) assert.match(query, /^(rain ?)+$/);
    // The first has less room for text, others are whole chunks, the last reaches back to as many.
    const [first, ...others] = queries.map((query) => encoding.tokenizer.encode(` ${query}`).length);
    assert.ok(first !== undefined && first < 64 && others.length > 1);
    assert.ok(others.every((count) => count === 64));
  });

  it('has what was said before an answer, earlier answers too, and never the answer itself', () => {
    const messages = talk('Who wrote it?', words(150, 'she'), 'When?', words(150, 'then'));
    const sample = encodeConversation(encoding, messages, { origin });
    const queries = recallQueries(sample, encoding.tokenizer);
    const first = Math.floor(sample.weights.indexOf(1) / 64);
    assert.deepEqual(queries.slice(first, first + 3), ['Who wrote it?', 'Who wrote it?', 'When?']);
    assert.match(queries.at(-1) as string, /^(she ?)+When\?$/);
    assert.ok(!queries.join(' ').includes('then'));
  });
});
