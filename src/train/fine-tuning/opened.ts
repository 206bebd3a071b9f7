/**
 * What a fine-tuning works on: the model in full precision with its adapter added, and the bank whose references its
 * samples recall.
 *
 * An adapter is added exactly (not in the blocks in which it is used), and what is learned on top is saved as one adapter with
 * it (`result.ts`).
 */
import { createHash } from 'node:crypto';
import type { MemoryBank } from '../../bank/bank.ts';
import { checkIdentity } from '../../bank/identity.ts';
import { checkNonePending } from '../../bank/rewrite.ts';
import { openBank } from '../../bank/sqlite.ts';
import { Memory3Error } from '../../errors.ts';
import { type AdapterOptions, openModelAndAdapter } from '../../generate/adapted-model.ts';
import { defaultEmbedder, defaultLanguageModel } from '../../hub/catalogue.ts';
import { fetchModel } from '../../hub/fetch.ts';
import { bankPath } from '../../hub/home.ts';
import type { Adapter } from '../../memory/adapter.ts';
import { classifierFor } from '../../memory/answer-classifier.ts';
import { chooseProfile, type ProfileChoice, repeatPrompt } from '../../memory/choose-profile.ts';
import type { ModelSource } from '../../memory/model.ts';
import { longestBody, type MemoryProfile } from '../../memory/profile.ts';
import { type ChatTemplate, parseChatTemplate } from '../../model/chat-template.ts';
import { mergedWeights } from '../../model/merged-weights.ts';
import type { ModelFile } from '../../model/open.ts';
import { tokenizerOf } from '../../model/open-tokenizer.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { openEmbedder } from '../../retrieval/embedder.ts';
import type { Device } from '../../runtime/device.ts';
import { contentFingerprint } from '../data/knowledge.ts';
import type { FineTuningMemory } from './batches.ts';
import { BankRecall } from './sample-recall.ts';

export interface FineTunedModelOptions extends AdapterOptions {
  /** A known name, a path or `hf:owner/repository/file`; default SmolLM2-135M-Instruct. */
  readonly model?: string;
  /** What differs from the adapter's memory profile, or from the default one. */
  readonly profile?: ProfileChoice;
}

export interface FineTunedModel extends Disposable {
  readonly base: ModelFile;
  readonly adapter: Adapter | null;
  /** Both together, in full precision. */
  readonly source: ModelSource;
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate | null;
  readonly profile: MemoryProfile;
}

/** @throws Memory3Error whatever fetching and opening throw. */
export async function openFineTunedModel(options: FineTunedModelOptions): Promise<FineTunedModel> {
  using opening = new DisposableStack();
  const path = await fetchModel(options.model ?? defaultLanguageModel, options.fetch);
  const { base, adapter } = opening.use(await openModelAndAdapter(path, options));
  const tokenizer = tokenizerOf(base);
  const weights = adapter === null ? base.weights : mergedWeights(base.weights, adapter.changes, 'f32');
  const profile = chooseProfile(base.config, tokenizer, options.profile, adapter?.card.profile);
  const resources = opening.move();
  return {
    base,
    adapter,
    source: { config: base.config, weights },
    tokenizer,
    template: base.chatTemplate === null ? null : parseChatTemplate(base.chatTemplate),
    profile,
    [Symbol.dispose]: () => resources.dispose(),
  };
}

export interface RecalledBankOptions {
  /** A name or a path. */
  readonly bank: string;
  readonly embedder?: string;
  readonly fetch?: AdapterOptions['fetch'];
  /** References of each chunk. */
  readonly references: number;
  readonly maxOverlap: number;
}

export interface RecalledBank extends AsyncDisposable {
  readonly memory: FineTuningMemory;
  readonly recall: BankRecall;
  /** Of all that decides what is recalled when it is opened: the embedder, the documents and how they are cut. */
  readonly fingerprint: string;
}

/**
 * Opens the bank that samples recall from. Any bank of the embedder will do, whatever model its memories are of: references are read anew
 * in every step.
 * @throws Memory3Error "mismatch" for another embedder, or while documents wait for their references; "usage" for an empty
 *   bank, summary tokens, or a classifier of answers that the adapter does not have; "unsupported" for an adapter with summary
 *   tokens; what opening throws.
 */
export async function openRecalledBank(
  { tokenizer, profile, adapter }: Pick<FineTunedModel, 'tokenizer' | 'profile' | 'adapter'>,
  device: Device,
  options: RecalledBankOptions,
): Promise<RecalledBank> {
  checkProfile(profile, adapter);
  const answerClassifier = adapter?.answerClassifier ?? null;
  classifierFor({ answerClassifier }, profile);
  await using opening = new AsyncDisposableStack();
  const embedder = opening.use(await openEmbedder(options.embedder ?? defaultEmbedder, device, options.fetch));
  const bank = opening.use(openBank(bankPath(options.bank), { mode: 'read' }));
  const { name, fingerprint, dimensions } = embedder;
  checkIdentity(bank.path, bank.identity, { ...bank.identity, embedder: { name, fingerprint, dimensions } });
  const { references: stored, pending } = bank.stats();
  checkNonePending(bank.path, pending);
  if (stored === 0) {
    throw new Memory3Error('usage', `The bank ${bank.path} has no references that samples could recall.`, {
      remedy: 'Add documents to it (memory3 add), name another one, or train with --no-memory.',
    });
  }
  const { references, maxOverlap } = options;
  const maxTokens = longestBody(profile);
  const recall = new BankRecall({ bank, embedder, tokenizer, maxTokens }, { references, maxOverlap });
  const resources = opening.move();
  return {
    memory: { profile, recall, answerClassifier, repeatPrompt: repeatPrompt(tokenizer) },
    recall,
    fingerprint: recallFingerprint(bank),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** A bank that was written again for another tokenizer has the same documents, cut otherwise. */
function recallFingerprint(bank: MemoryBank): string {
  const hash = createHash('sha256').update(contentFingerprint(bank));
  for (const { id } of bank.documents())
    for (const { start, end } of bank.references(id)) hash.update(` ${start}-${end}`);
  return hash.digest('hex');
}

function checkProfile(profile: MemoryProfile, adapter: Adapter | null): void {
  if (adapter !== null && adapter.summaryTokens !== null) {
    throw new Memory3Error('unsupported', `The adapter ${adapter.card.name} writes memories with summary tokens.`, {
      remedy: 'Fine-tune it with --no-memory, or another adapter.',
    });
  }
  if (profile.scoring === 'summary') {
    throw new Memory3Error('usage', 'Summary tokens are learned by a conversion (memory3 convert).', {
      remedy: 'Choose another --scoring, or train with --no-memory.',
    });
  }
}
