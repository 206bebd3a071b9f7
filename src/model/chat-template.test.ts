import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import fc from 'fast-check';
import { byteLevelMetadata } from '../../test/support/small-tokenizer.ts';
import { defaultLanguageModel } from '../hub/catalogue.ts';
import { modelPath } from '../hub/fetch.ts';
import { type ChatTemplate, encodeChat, type Message, parseChatTemplate } from './chat-template.ts';
import { openGguf } from './gguf.ts';
import type { Tokenizer } from './tokenizer.ts';
import { tokenizerFromGguf } from './tokenizer-gguf.ts';

let tokenizer: Tokenizer;
let template: ChatTemplate;
before(async () => {
  using file = openGguf(await modelPath(defaultLanguageModel));
  tokenizer = tokenizerFromGguf(file.metadata);
  template = parseChatTemplate(file.metadata.get('tokenizer.chat_template') as string);
});

const asking = { addGenerationPrompt: true };

function written(chat: { readonly tokens: readonly number[] }): string {
  return tokenizer.decode(chat.tokens, { special: true });
}

function contentOf(chat: { readonly tokens: readonly number[]; readonly content: readonly boolean[] }): string {
  return tokenizer.decode(chat.tokens.filter((_, index) => chat.content[index]));
}

describe("the default model's template", () => {
  it('writes the prompt, the system message that it adds included, with one bos', () => {
    const chat = encodeChat(template, tokenizer, [{ role: 'user', content: 'Who are you?' }], asking);
    assert.equal(
      written(chat),
      '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' +
        '<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n',
    );
    assert.deepEqual(chat.tokens, tokenizer.encodeWithSpecial(written(chat)));
    assert.equal(chat.tokens[0], tokenizer.bosTokenId);
    assert.notEqual(chat.tokens[1], tokenizer.bosTokenId);
    assert.equal(contentOf(chat), 'Who are you?');
  });

  it('marks the texts of all messages', () => {
    const messages: Message[] = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'One?' },
      { role: 'assistant', content: 'Two.' },
      { role: 'user', content: '' },
    ];
    const chat = encodeChat(template, tokenizer, messages, { addGenerationPrompt: false });
    assert.equal(contentOf(chat), 'Be brief.One?Two.');
    const textOf = (index: number) => tokenizer.decode(chat.tokens.filter((_, i) => chat.message?.[i] === index));
    assert.deepEqual([0, 1, 2, 3].map(textOf), ['Be brief.', 'One?', 'Two.', '']);
    assert.equal(chat.message?.length, chat.tokens.length);
    assert.ok(chat.content.every((isContent, i) => isContent === (chat.message?.[i] !== -1)));
    assert.ok(!written(chat).includes('SmolLM'));
  });

  it('lets no text become a special token, whatever it is', () => {
    const names = tokenizer.addedTokens.map(({ content }) => content);
    const pieces = fc.constantFrom(
      ...names,
      '<|im_',
      'end|>',
      '\ue0000\ue001',
      '\ue0000\ue001m0\ue0000\ue001',
      ' ',
      '\n',
      'a',
    );
    const text = fc.array(fc.oneof(pieces, fc.string({ unit: 'grapheme' }))).map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, text, (first, second) => {
        const messages: Message[] = [
          { role: 'user', content: first },
          { role: 'assistant', content: second },
        ];
        const chat = encodeChat(template, tokenizer, messages, asking);
        const special = chat.tokens.filter((id) => tokenizer.isSpecial(id));
        // system, user, assistant: begin and end; then the beginning of the answer.
        assert.deepEqual(special, [1, 2, 1, 2, 1, 2, 1]);
        assert.ok(chat.tokens.every((id, index) => !(chat.content[index] && tokenizer.isSpecial(id))));
        const plain = tokenizer.encode(`user\n${first}`);
        const start = chat.tokens.indexOf(2) + 3;
        assert.deepEqual(chat.tokens.slice(start, start + plain.length), plain);
      }),
      { numRuns: 300 },
    );
  });
});

describe('other templates', () => {
  const im = (body: string) => parseChatTemplate(`{% for m in messages %}${body}{% endfor %}`);
  const say = (chatTemplate: ChatTemplate, ...contents: string[]) =>
    encodeChat(
      chatTemplate,
      tokenizer,
      contents.map((content, index) => ({ role: index % 2 === 0 ? 'user' : 'assistant', content })),
      asking,
    );

  it('may trim texts', () => {
    const chat = say(im("{{ '<|im_start|>' + m.content | trim + '<|im_end|>' }}"), '  a <|im_end|> b \n', ' c');
    assert.equal(written(chat), '<|im_start|>a <|im_end|> b<|im_end|><|im_start|>c<|im_end|>');
    assert.equal(chat.tokens.filter((id) => id === 2).length, 2);
    assert.equal(contentOf(chat), 'a <|im_end|> bc');
  });

  it('may test and change texts', () => {
    const cut = "{{ '<|im_start|>' + (m.content.split('##')[-1] if '##' in m.content else m.content) + '<|im_end|>' }}";
    const chat = say(im(cut), 'thought ## <|im_end|>answer', 'plain');
    assert.equal(written(chat), '<|im_start|> <|im_end|>answer<|im_end|><|im_start|>plain<|im_end|>');
    assert.equal(contentOf(chat), ' <|im_end|>answerplain');
    assert.equal(chat.tokens.filter((id) => id === 2).length, 2);
  });

  it('may write something else around a text because of what is in it', () => {
    const other =
      "<|im_start|>{{ 'long' if m.content | length > 60 else 'short' }}: {{ m.content }}{% if '!' in m.content %}<|im_end|>{% endif %}";
    const chat = say(im(other), 'Stop! <|im_end|>');
    assert.equal(written(chat), '<|im_start|>short: Stop! <|im_end|><|im_end|>');
    assert.equal(chat.message, null);
    assert.equal(chat.tokens.filter((id) => id === 2).length, 1);
  });

  it('are ended where they would not end', () => {
    const endless = parseChatTemplate('{% for i in range(1000000000) %}{{ i }}{% endfor %}', 50);
    assert.throws(() => say(endless, 'x'), { code: 'unsupported', message: /had not ended after 50 ms/ });
  });

  it('may leave a text out', () => {
    const chat = say(im("{% if m.role == 'user' %}<|im_start|>{{ m.content }}{% endif %}"), 'a', 'b', 'c');
    assert.equal(written(chat), '<|im_start|>a<|im_start|>c');
  });

  it('may begin with a bos of their own, once or twice', () => {
    const twice = parseChatTemplate('{{ bos_token }}{{ bos_token }}{{ messages[0].content }}{{ eos_token }}');
    assert.equal(written(say(twice, 'x')), '<|im_start|>x<|im_end|>');
    const none = parseChatTemplate('{{ messages[0].content }}');
    assert.equal(written(say(none, 'x')), '<|im_start|>x');
  });

  it('that refuse messages, or cannot be read, are named', () => {
    const strict = parseChatTemplate("{{ raise_exception('Roles must alternate') }}");
    assert.throws(() => say(strict, 'x'), /refuses these messages: Roles must alternate/);
    assert.throws(() => parseChatTemplate('{% for %}'), /chat template cannot be read/);
  });

  it('may drop old thoughts, as those of Qwen 3 do, and thoughts of users stay text', () => {
    const qwen = tokenizerFromGguf(byteLevelMetadata());
    const [think = -1] = qwen.encodeWithSpecial('<think>');
    const drop = im(
      "{% if m.role == 'assistant' and '<think>' in m.content %}{{ m.content.split('<think>')[0] }}" +
        '{% else %}{{ m.content }}{% endif %}<|endoftext|>',
    );
    const messages: Message[] = [
      { role: 'user', content: 'hello<think>' },
      { role: 'assistant', content: 'ok<think>hidden' },
    ];
    const { tokens } = encodeChat(drop, qwen, messages, asking);
    assert.equal(qwen.decode(tokens), 'hello<think>ok');
    assert.ok(!tokens.includes(think));
  });

  it('are replaced by plain words where a model has none', () => {
    const messages: Message[] = [
      { role: 'system', content: 'Facts.' },
      { role: 'user', content: 'Who?' },
      { role: 'assistant', content: 'She.' },
      { role: 'user', content: 'When?' },
    ];
    const chat = encodeChat(null, tokenizer, messages, asking);
    assert.equal(written(chat), '<|im_start|>Facts.\n\nQuestion: Who?\nAnswer: She.\n\nQuestion: When?\nAnswer:');
    assert.equal(contentOf(chat), 'Facts. Who? She. When?');
  });
});
