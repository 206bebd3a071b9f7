/**
 * The bank of references that training chooses from, made of a knowledge corpus. It holds texts, tokens and vectors but
 * no memories: the model that is trained writes those anew in every step (paper 4.1). So it belongs to a tokenizer and an
 * embedder, not to a model's weights.
 */
import { createHash } from 'node:crypto';
import type { BankIdentity, MemoryBank } from '../../bank/bank.ts';
import { differences, type IdentityPart } from '../../bank/identity.ts';
import { openBank } from '../../bank/sqlite.ts';
import { Memory3Error } from '../../errors.ts';
import { type DocumentEvent, type LibraryOptions, putDocument } from '../../generate/library.ts';
import { longestBody } from '../../memory/profile.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import type { Embedder } from '../../retrieval/embedder.ts';
import type { TextDocument } from './readers.ts';

export interface KnowledgeParts {
  readonly tokenizer: Tokenizer;
  /** Token ids that stand in front of every reference; bodies are cut to leave room for them in 128. */
  readonly header: readonly number[];
  readonly embedder: Embedder;
}

/**
 * Opens the bank, or makes it with mode "write".
 * @throws Memory3Error "mismatch" if it was made with another tokenizer, header or embedder; as `openBank`.
 */
export function openKnowledge(path: string, parts: KnowledgeParts, mode: 'read' | 'write'): MemoryBank {
  const identity = knowledgeIdentity(parts);
  try {
    return openBank(path, { mode, identity });
  } catch (cause) {
    if (!(cause instanceof Memory3Error) || cause.code !== 'mismatch') throw cause;
    using bank = openBank(path, { mode: 'read' });
    const different = differences(bank.identity, identity).map((part) => partNames[part]);
    throw new Memory3Error('mismatch', `The knowledge ${path} was made with another ${different.join(' and ')}.`, {
      remedy: `Prepare into another folder, or delete ${path} to make it anew.`,
      cause,
    });
  }
}

/** What a bank's identity says of knowledge. */
const partNames: Readonly<Record<IdentityPart, string>> = {
  model: 'tokenizer',
  profile: 'header of references',
  embedder: 'embedder',
};

/**
 * Of a bank's embedder and every document. Documents whose texts change have another one, though their number stays.
 */
export function contentFingerprint(bank: Pick<MemoryBank, 'documents' | 'identity'>): string {
  const hash = createHash('sha256').update(bank.identity.embedder.fingerprint);
  for (const { id, contentHash } of bank.documents()) hash.update(`${id} ${contentHash}\n`);
  return hash.digest('hex');
}

/**
 * Cuts, embeds and stores documents, a transaction each. What is in the bank already is "unchanged": started again after
 * an interruption it goes on where it stopped.
 * @throws the signal's reason
 * @example for await (const { name, references } of addKnowledge(bank, parts, readDocuments(['knowledge/']))) ...
 */
export async function* addKnowledge(
  bank: MemoryBank,
  { tokenizer, header, embedder }: KnowledgeParts,
  documents: AsyncIterable<TextDocument> | Iterable<TextDocument>,
  options: Pick<LibraryOptions, 'signal'> = {},
): AsyncGenerator<DocumentEvent, void> {
  const parts = { bank, embedder, tokenizer, profile: { header } };
  for await (const { id, title, text } of documents) {
    yield await putDocument(parts, { name: id, title: title ?? null, mediaType: 'text/plain', text }, options);
  }
  bank.prepareSearch();
}

function knowledgeIdentity({ tokenizer, header, embedder }: KnowledgeParts): BankIdentity {
  const { name, fingerprint, dimensions } = embedder;
  return {
    model: { name: 'a tokenizer without a model', fingerprint: tokenizerFingerprint(tokenizer) },
    profile: { name: `bodies of ${longestBody({ header })} tokens`, fingerprint: sha256(header) },
    embedder: { name, fingerprint, dimensions },
  };
}

/** Of every token's bytes, and of what the text of all tokens, one a line, is encoded as: that takes every merge. */
export function tokenizerFingerprint(tokenizer: Tokenizer): string {
  const ids = Array.from({ length: tokenizer.vocabularySize }, (_, id) => id);
  const bytes = ids.map((id) => bytesOf(tokenizer, id));
  const text = bytes.map((token) => Buffer.from(token ?? []).toString('utf8')).join('\n');
  const spelled = bytes.map((token) => (token === null ? null : Buffer.from(token).toString('hex')));
  return sha256([tokenizer.bosTokenId, tokenizer.addedTokens, spelled, tokenizer.encode(text)]);
}

/** Null for a hole: an id without a token. */
function bytesOf(tokenizer: Tokenizer, id: number): Uint8Array | null {
  try {
    return tokenizer.tokenBytes(id);
  } catch (error) {
    if (error instanceof Memory3Error && error.code === 'damaged') return null;
    throw error;
  }
}

function sha256(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}
