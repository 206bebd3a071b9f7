/**
 * Prompts: messages in, tokens out, cut into the chunks that recall memories.
 *
 * A chunk's query is the text of its content tokens: what users and the model said, without special tokens and template
 * words. A chunk of fewer than 64 tokens, or one without any content, takes the last 64 content tokens up to its end
 * instead, so that a short question behind a long template still finds its references.
 */
import { Memory3Error } from '../errors.ts';
import { chunkTokens, referenceTokens } from '../memory/profile.ts';
import type { Message } from '../model/chat-template.ts';
import type { ModelConfig } from '../model/config.ts';
import type { Tokenizer } from '../model/tokenizer.ts';

/** A prompt's tokens, the first of which is the model's document-start token. */
export interface PromptTokens {
  readonly tokens: readonly number[];
  /** For each token, whether it comes from a message's text rather than from the template. */
  readonly content: readonly boolean[];
}

export interface PromptChunk {
  readonly tokens: readonly number[];
  /** What the chunk recalls with; empty if the prompt has no content so far. */
  readonly query: string;
}

/** A prompt in the pieces in which it is read. */
export interface PromptPieces {
  /** The template's words before the first message: the same for every prompt, they recall nothing. */
  readonly opening: readonly number[];
  /** Chunks of 64 tokens, the last one shorter. */
  readonly chunks: readonly PromptChunk[];
}

/** Cuts a prompt into its opening and chunks of 64 tokens, each with its query. */
export function cutPrompt({ tokens, content }: PromptTokens, tokenizer: Tokenizer): PromptPieces {
  const opening = tokens.slice(0, Math.max(0, content.indexOf(true)));
  const chunks: PromptChunk[] = [];
  for (let start = opening.length; start < tokens.length; start += chunkTokens) {
    const end = Math.min(start + chunkTokens, tokens.length);
    const own = contentTokens(tokens, content, start, end);
    const query = end - start < chunkTokens || own.length === 0 ? contentTokens(tokens, content, 0, end) : own;
    chunks.push({ tokens: tokens.slice(start, end), query: tokenizer.decode(query.slice(-chunkTokens)).trim() });
  }
  return { opening, chunks };
}

function contentTokens(tokens: readonly number[], content: readonly boolean[], start: number, end: number): number[] {
  return tokens.slice(start, end).filter((_, index) => content[start + index]);
}

/** References as the text in front of a question: in answers, in training and wherever something is measured. */
export function referencesAsText(texts: readonly string[]): string {
  return texts.map((text) => `Reference: ${text}\n\n`).join('');
}

/** The last message with references put before it as text: the prompt of retrieval-augmented generation. */
export function withReferences(messages: readonly Message[], references: readonly string[]): Message[] {
  const last = messages.at(-1);
  if (last === undefined || references.length === 0) return [...messages];
  return [...messages.slice(0, -1), { ...last, content: referencesAsText(references) + last.content }];
}

/**
 * Refuses a prompt that does not leave room for an answer.
 * @throws Memory3Error "too-long" with both counts.
 */
export function checkLength(config: ModelConfig, prompt: PromptTokens, maxTokens: number, memory: boolean): void {
  const room = config.contextLength - (memory ? referenceTokens : 0);
  if (prompt.tokens.length + maxTokens <= room) return;
  throw new Memory3Error(
    'too-long',
    `The prompt has ${prompt.tokens.length} tokens and the answer may take ${maxTokens}: ` +
      `together more than the ${room} tokens that the model can read.`,
    { remedy: 'Shorten the prompt or ask for a shorter answer (--max-tokens).' },
  );
}
