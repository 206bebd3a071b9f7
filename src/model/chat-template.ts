/**
 * A conversation as tokens: the model's own chat template around texts that stay texts.
 *
 * A template (Jinja) writes the messages into one string with special tokens between them. If a message's text went
 * through it and the string was then tokenised, "<|im_end|>" in the text would end the message. Therefore:
 *
 * 1. The template is rendered with a placeholder for each text. Between the placeholders is what the template wrote.
 * 2. It is rendered again with the texts, in which the names of special tokens are masked. Templates may trim a text or
 *    test what is in it, and this rendering shows what they made of it. (In the model's own earlier answers only tokens
 *    that are truly special are masked: Qwen 3's template looks for "</think>" there, to drop old thoughts.)
 * 3. The second string is matched with the first: template, text, template, ... Special tokens are recognised in the
 *    template's pieces only, and each token is marked as the template's or a message's.
 *
 * Where a template writes something else around a text because of what is in it, the strings do not match. Then the second one is taken whole: the masks still keep special tokens out of the texts, and
 * all that is not special counts as content.
 */
import { isNativeError } from 'node:util/types';
import { createContext, runInContext } from 'node:vm';
import { Template } from '@huggingface/jinja';
import { Memory3Error, messageOf } from '../errors.ts';
import type { AddedToken, TextPart, Tokenizer } from './tokenizer.ts';

export interface Message {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** A parsed template. */
export interface ChatTemplate {
  readonly source: string;
  render(variables: Readonly<Record<string, unknown>>): string;
}

/** A conversation's tokens. */
export interface EncodedChat {
  /** The first is `tokenizer.bosTokenId`, and it stands at the start only once. */
  readonly tokens: number[];
  /** For each token, whether it has a byte of a message's text, rather than being the template's. */
  readonly content: boolean[];
  /**
   * For each token of content the index of its message, for others -1; null if the template changed the texts so much that
   * it cannot be told.
   */
  readonly message: number[] | null;
}

/** Milliseconds; ordinary templates take a few. */
const longestRendering = 5000;

/**
 * Parses a model's chat template. Rendering ends after `timeout` milliseconds: a template is a stranger's program, and nothing
 * else, not even Ctrl+C, would end its loops.
 * @throws Memory3Error "unsupported" if it is not Jinja that the project can read.
 */
export function parseChatTemplate(source: string, timeout = longestRendering): ChatTemplate {
  let template: Template;
  try {
    template = new Template(source);
  } catch (cause) {
    throw new Memory3Error('unsupported', `The model's chat template cannot be read: ${messageOf(cause)}`, { cause });
  }
  const render = (variables: Record<string, unknown>) => template.render(variables);
  const context = createContext({ render, variables: {} });
  return {
    source,
    render(variables) {
      try {
        context.variables = variables;
        return runInContext('render(variables)', context, { timeout });
      } catch (cause) {
        // It is the other context's error, so no instance of this one's.
        const isLate = isNativeError(cause) && 'code' in cause && cause.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT';
        if (!isLate) throw cause;
        throw new Memory3Error('unsupported', `The model's chat template had not ended after ${timeout} ms.`, {
          remedy: 'Use a model whose template ends.',
          cause,
        });
      }
    },
  };
}

/**
 * The template of a model that has none, a base model: "Question: ...\nAnswer: ...", system texts as they are. Nothing in
 * it is special, so an answer ends at the model's end token or at a stop string ("\nQuestion:").
 */
const plainChatTemplate: ChatTemplate = parseChatTemplate(
  "{% for message in messages %}{% if message.role == 'user' %}{{ 'Question: ' + message.content + '\n' }}" +
    "{% elif message.role == 'assistant' %}{{ 'Answer: ' + message.content + '\n\n' }}" +
    "{% else %}{{ message.content + '\n\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}Answer:{% endif %}",
);

/**
 * Encodes a conversation.
 *
 * @param template - null stands for `plainChatTemplate`.
 * @param options - `addGenerationPrompt`: end with the words that begin an answer.
 * @throws Memory3Error "usage" if the template refuses the messages (two of one role in a row, a system message);
 *   "unsupported" if it does not end.
 * @example
 * encodeChat(template, tokenizer, [{ role: 'user', content: 'Who wrote it?' }], { addGenerationPrompt: true });
 */
export function encodeChat(
  template: ChatTemplate | null,
  tokenizer: Tokenizer,
  messages: readonly Message[],
  options: { readonly addGenerationPrompt: boolean },
): EncodedChat {
  const parts = chatParts(template ?? plainChatTemplate, tokenizer, messages, options.addGenerationPrompt);
  const { tokens, part } = tokenizer.encodeParts(parts);
  const content = part.map((index, i) => parts[index]?.content === true && !tokenizer.isSpecial(tokens[i] ?? -1));
  const message = part.map((index, i) => (content[i] === true ? (parts[index]?.message ?? -1) : -1));
  const known = content.every((isContent, i) => !isContent || message[i] !== -1);
  let leading = 0;
  while (tokens[leading] === tokenizer.bosTokenId) leading++;
  return {
    tokens: [tokenizer.bosTokenId, ...tokens.slice(leading)],
    content: [false, ...content.slice(leading)],
    message: known ? [-1, ...message.slice(leading)] : null,
  };
}

interface ChatPart extends TextPart {
  readonly content: boolean;
  /** Of content, the message that it comes from, if that is known. */
  readonly message?: number;
}

function chatParts(
  template: ChatTemplate,
  tokenizer: Tokenizer,
  messages: readonly Message[],
  addGenerationPrompt: boolean,
): ChatPart[] {
  const render = (contents: readonly string[]): string => {
    try {
      return template.render({
        messages: messages.map(({ role }, index) => ({ role, content: contents[index] })),
        add_generation_prompt: addGenerationPrompt,
        bos_token: tokenizer.decode([tokenizer.bosTokenId], { special: true }),
        eos_token: tokenizer.decode(tokenizer.endTokenIds.slice(0, 1), { special: true }),
      });
    } catch (cause) {
      if (cause instanceof Memory3Error) throw cause;
      throw new Memory3Error('usage', `The model's chat template refuses these messages: ${messageOf(cause)}`, {
        cause,
      });
    }
  };
  const texts = messages.map((message) => message.content);
  const mark = unusedMark([template.source, ...texts]);
  const mask = masking(tokenizer.addedTokens, mark);
  const masked = messages.map(({ role, content }) => mask.on(content, role === 'assistant'));
  const rendered = render(masked);
  const skeleton = render(messages.map((_, index) => `${mark}m${index}${mark}`));
  const matched = match(rendered, splitAtPlaceholders(skeleton, mark), masked, mask.hasSpecial);
  if (matched === null) return unmask(rendered, mark, mask.off);
  return matched.map(({ text, message }) =>
    message === undefined
      ? { text, special: true, content: false }
      : { text: mask.off(text), special: false, content: true, message },
  );
}

/** A string that none of the texts contains, and that cannot overlap with itself. */
function unusedMark(texts: readonly string[]): string {
  let number = 0;
  const mark = (): string => `\ue000${number}\ue001`;
  while (texts.some((text) => text.includes(mark()))) number++;
  return mark();
}

interface Masking {
  /** `specialOnly` leaves tokens like "<think>" as they are. */
  on(text: string, specialOnly: boolean): string;
  off(text: string): string;
  /** Whether a masked text has a special token, which only the template can have written. */
  hasSpecial(masked: string): boolean;
}

/** Replaces the names of added tokens by marks with their numbers, and back. */
function masking(added: readonly AddedToken[], mark: string): Masking {
  const byLength = [...added].sort((a, b) => b.content.length - a.content.length);
  const number = new Map(byLength.map(({ content }, index) => [content, index]));
  const pattern = new RegExp(byLength.map(({ content }) => RegExp.escape(content)).join('|') || '(?!)', 'gu');
  const masked = new RegExp(`${mark}s(\\d+)${mark}`, 'gu');
  return {
    on: (text, specialOnly) =>
      text.replaceAll(pattern, (name) => {
        const index = number.get(name) ?? -1;
        return specialOnly && byLength[index]?.special !== true ? name : `${mark}s${index}${mark}`;
      }),
    off: (text) => text.replaceAll(masked, (_, index) => byLength[Number(index)]?.content ?? ''),
    hasSpecial: (text) => byLength.some(({ content, special }) => special && text.includes(content)),
  };
}

/** What the template wrote between the placeholders; one piece more than there are placeholders. */
interface Skeleton {
  readonly literals: readonly string[];
  /** The message that each placeholder stands for. */
  readonly placeholders: readonly number[];
}

function splitAtPlaceholders(skeleton: string, mark: string): Skeleton {
  const pieces = skeleton.split(new RegExp(`${mark}m(\\d+)${mark}`, 'u'));
  return {
    literals: pieces.filter((_, index) => index % 2 === 0),
    placeholders: pieces.filter((_, index) => index % 2 === 1).map(Number),
  };
}

/** Cuts `rendered` into the template's pieces and the texts, or null if the template wrote other pieces around them. */
function match(
  rendered: string,
  { literals, placeholders }: Skeleton,
  contents: readonly string[],
  hasSpecial: (text: string) => boolean,
): { readonly text: string; readonly message?: number }[] | null {
  const [first = '', ...rest] = literals;
  if (!rendered.startsWith(first)) return null;
  const pieces: { readonly text: string; readonly message?: number }[] = [{ text: first }];
  let position = first.length;
  for (const [index, literal] of rest.entries()) {
    const isLast = index === rest.length - 1;
    const follows = (end: number): boolean =>
      rendered.startsWith(literal, end) && (!isLast || end + literal.length === rendered.length);
    const message = placeholders[index] ?? -1;
    const content = contents[message] ?? '';
    const form = [content, content.trim(), content.trimStart(), content.trimEnd()].find(
      (text) => rendered.startsWith(text, position) && follows(position + text.length),
    );
    const end =
      form !== undefined
        ? position + form.length
        : isLast
          ? rendered.length - literal.length
          : rendered.indexOf(literal, position);
    if (end < position || !follows(end)) return null;
    if (form === undefined && hasSpecial(rendered.slice(position, end))) return null;
    pieces.push({ text: rendered.slice(position, end), message }, { text: literal });
    position = end + literal.length;
  }
  return position === rendered.length ? pieces : null;
}

/** A rendering taken whole: masked names become text that is not special, the rest may be special. */
function unmask(rendered: string, mark: string, off: (text: string) => string): ChatPart[] {
  const pieces = rendered.split(new RegExp(`(${mark}s\\d+${mark})`, 'u'));
  return pieces.map((text, index) =>
    index % 2 === 1 ? { text: off(text), special: false, content: true } : { text, special: true, content: true },
  );
}
