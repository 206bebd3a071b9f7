/**
 * Conversations as training samples: the model's own chat template, and a loss on answers only.
 *
 *   tokens    <bos>user\n Who ? <end>\n <bos>assistant\n She . <end>
 *   weights    0     0     0   0   0      0       0       1  1   1
 *
 * A weight belongs to the token that is predicted, from those before it. The end token counts, since the model has to learn
 * when to stop. Where a template writes none behind the last answer (a base model's plain words), one is put there.
 *
 * White space around an answer goes: its first could become one token with the template's line break before it, and when
 * the model is asked, that line break is already there.
 */
import { Memory3Error } from '../../errors.ts';
import { type ChatTemplate, encodeChat, type Message } from '../../model/chat-template.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';

/** One text to train on, however it came about. */
export interface TrainingSample {
  /** From the document-start token on. */
  readonly tokens: Int32Array<ArrayBuffer>;
  /** For each token, how much its prediction from the tokens before it counts; that of the first is 0. */
  readonly weights: Float32Array<ArrayBuffer>;
  /** 1 for tokens of messages, 0 for the template's. */
  readonly content: Uint8Array<ArrayBuffer>;
}

/** How messages become tokens; `template` null stands for the plain template. */
export interface ChatEncoding {
  readonly template: ChatTemplate | null;
  readonly tokenizer: Tokenizer;
}

/**
 * Encodes a conversation that ends with an answer.
 *
 * @param answers which answers have a loss: all, or only the last
 * @param origin named in errors
 * @throws Memory3Error "usage" if the template refuses the messages; "unsupported" if it changes them so that answers cannot be
 *   told from the rest, or leaves one out.
 */
export function encodeConversation(
  { template, tokenizer }: ChatEncoding,
  messages: readonly Message[],
  { answers = 'all', origin }: { readonly answers?: 'all' | 'last'; readonly origin: string },
): TrainingSample {
  const trimmed = messages.map(({ role, content }) => ({
    role,
    content: role === 'assistant' ? content.trim() : content,
  }));
  const chat = encodeAt(origin, () => encodeChat(template, tokenizer, trimmed, { addGenerationPrompt: false }));
  const { message: messageOf } = chat;
  if (messageOf === null) {
    throw new Memory3Error('unsupported', `${origin}: the chat template rewrites these messages.`, {
      remedy: "An answer's tokens cannot be told then. Leave the line out.",
    });
  }
  const tokens = [...chat.tokens];
  const weights = tokens.map(() => 0);
  for (const [index, { role }] of messages.entries()) {
    const isLast = index === messages.length - 1;
    if (role !== 'assistant' || (answers === 'last' && !isLast)) continue;
    const last = messageOf.lastIndexOf(index);
    if (last === -1) {
      throw new Memory3Error('unsupported', `${origin}: the chat template leaves out message ${index + 1}.`, {
        remedy: 'Cut the conversation so that every answer is one that the template writes.',
      });
    }
    for (let i = messageOf.indexOf(index); i <= last; i++) weights[i] = messageOf[i] === index ? 1 : 0;
    const end = endOfAnswer(tokens, messageOf, last, tokenizer.endTokenIds);
    // What stands between an answer and its end has to be said too.
    if (end !== -1) weights.fill(1, last + 1, end + 1);
    if (!isLast) continue;
    const length = (end === -1 ? last : end) + 1;
    tokens.length = length;
    weights.length = length;
    const [endToken] = tokenizer.endTokenIds;
    if (end === -1 && endToken !== undefined) {
      tokens.push(endToken);
      weights.push(1);
    }
  }
  return {
    tokens: Int32Array.from(tokens),
    weights: Float32Array.from(weights),
    content: Uint8Array.from(tokens, (_, i) => (chat.content[i] === true ? 1 : 0)),
  };
}

/** A refusal of the template, with the place of the messages. */
function encodeAt<T>(origin: string, encode: () => T): T {
  try {
    return encode();
  } catch (cause) {
    throw cause instanceof Memory3Error
      ? new Memory3Error(cause.code, `${origin}: ${cause.message}`, { cause })
      : cause;
  }
}

/** Where the first end token behind an answer is, before the next message; -1 if there is none. */
function endOfAnswer(
  tokens: readonly number[],
  messageOf: readonly number[],
  last: number,
  endTokenIds: readonly number[],
): number {
  for (let i = last + 1; i < tokens.length && messageOf[i] === -1; i++) {
    if (endTokenIds.includes(tokens[i] as number)) return i;
  }
  return -1;
}
