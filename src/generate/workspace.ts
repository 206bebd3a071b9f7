/**
 * Everything opened together: a model on a device, its memory profile, an embedder, a bank. What the commands and most
 * programs begin with.
 */
import { createHash } from 'node:crypto';
import type { BankIdentity, MemoryBank } from '../bank/bank.ts';
import { checkExists } from '../bank/open.ts';
import { pendingFault } from '../bank/rewrite.ts';
import { type OpenBankOptions, openBank, readIdentity } from '../bank/sqlite.ts';
import { defaultEmbedder, defaultLanguageModel } from '../hub/catalogue.ts';
import { fetchModel } from '../hub/fetch.ts';
import { bankPath } from '../hub/home.ts';
import type { Adapter } from '../memory/adapter.ts';
import { classifierFor } from '../memory/answer-classifier.ts';
import { chooseProfile, type ProfileChoice, profileIdentity, repeatPrompt } from '../memory/choose-profile.ts';
import { LanguageModel } from '../memory/model.ts';
import { type MemoryProfile, summaryTokenCount } from '../memory/profile.ts';
import { summaryTokensFor } from '../memory/writer.ts';
import { type ChatTemplate, parseChatTemplate } from '../model/chat-template.ts';
import type { ModelFile } from '../model/open.ts';
import { tokenizerOf } from '../model/open-tokenizer.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { type Embedder, openEmbedder } from '../retrieval/embedder.ts';
import { Device, type DeviceOptions } from '../runtime/device.ts';
import { type AdapterOptions, openAdaptedModel } from './adapted-model.ts';
import type { Answerer } from './answer.ts';
import { MemoryRecall, type RecallOptions } from './recall.ts';

export interface OpenModelOptions extends DeviceOptions, AdapterOptions {
  /** A known name, a path or `hf:owner/repository/file`; default SmolLM2-135M-Instruct. */
  readonly model?: string;
  /** What differs from the memory profile of the bank that is opened, else from the adapter's, else from the default one. */
  readonly profile?: ProfileChoice;
}

/** A model that is ready to write and to read memories. */
export interface OpenedModel extends AsyncDisposable {
  /** With the adapter merged. */
  readonly file: ModelFile;
  readonly adapter: Adapter | null;
  readonly tokenizer: Tokenizer;
  readonly chatTemplate: ChatTemplate | null;
  readonly model: LanguageModel;
  readonly profile: MemoryProfile;
  readonly repeatPrompt: readonly number[];
}

export interface WorkspaceOptions extends OpenModelOptions {
  /** A name or a path; default "default". */
  readonly bank?: string;
  /** 'write' takes the writer's lock and makes the bank if it is missing; default 'read'. */
  readonly bankMode?: OpenBankOptions['mode'];
  readonly embedder?: string;
  readonly recall?: RecallOptions;
  /** Told in one sentence or two what the bank lacks: an index that was damaged, documents of an interrupted rewrite. */
  readonly onNotice?: (notice: string) => void;
}

export interface Workspace extends OpenedModel, Answerer {
  readonly embedder: Embedder;
  readonly bank: MemoryBank;
  readonly recall: MemoryRecall;
}

/**
 * Fetches a model if need be and opens it.
 * @throws Memory3Error "usage" for a profile with summary tokens or a classifier that the adapter does not have; whatever
 *   fetching and opening throw.
 */
export function openModel(options: OpenModelOptions = {}): Promise<OpenedModel> {
  return openModelFor(null, options);
}

/** @param written what a bank was written with: where the model is the same, the rest of its profile is the default. */
async function openModelFor(written: BankIdentity | null, options: OpenModelOptions): Promise<OpenedModel> {
  await using opening = new AsyncDisposableStack();
  const path = await fetchModel(options.model ?? defaultLanguageModel, options.fetch);
  const { file, adapter } = await openAdaptedModel(path, options);
  opening.use(file);
  const tokenizer = tokenizerOf(file);
  const device = opening.use(new Device(options));
  const defaults = (await chosenFor(written, file)) ?? adapter?.card.profile;
  const profile = chooseProfile(file.config, tokenizer, options.profile, defaults);
  const summaryTokens = adapter?.summaryTokens ?? null;
  const answerClassifier = adapter?.answerClassifier ?? null;
  const model = new LanguageModel(file, device, { memoryLayers: profile.layers, summaryTokens, answerClassifier });
  summaryTokensFor(model, profile);
  classifierFor(model, profile);
  const opened = {
    file,
    adapter,
    tokenizer,
    chatTemplate: file.chatTemplate === null ? null : parseChatTemplate(file.chatTemplate),
    model,
    profile,
    repeatPrompt: repeatPrompt(tokenizer),
  };
  const resources = opening.move();
  return { ...opened, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

/** The profile that a bank was written with, if it was with this model. */
async function chosenFor(written: BankIdentity | null, file: ModelFile): Promise<BankIdentity['profile']['chosen']> {
  const chosen = written?.profile.chosen;
  if (chosen === undefined) return undefined;
  return written?.model.fingerprint === (await fingerprintInBank(file, chosen)) ? chosen : undefined;
}

/** What stands for a model in a bank. Bodies that leave room for summary tokens are cut otherwise: as with another model, no reference stays what it was. */
async function fingerprintInBank(
  file: ModelFile,
  profile: Pick<MemoryProfile, 'scoring' | 'keptTokens'>,
): Promise<string> {
  const fingerprint = await file.fingerprint();
  const summary = summaryTokenCount(profile);
  return summary === 0 ? fingerprint : createHash('sha256').update(`${fingerprint} ${summary} summary`).digest('hex');
}

/** What a bank must have been written with to serve this model, profile and embedder. */
export async function identityOf(
  { file, model, profile }: Pick<OpenedModel, 'file' | 'model' | 'profile'>,
  embedder: Embedder,
): Promise<BankIdentity> {
  const { header: _, ...chosen } = profile;
  return {
    model: { name: file.name, fingerprint: await fingerprintInBank(file, chosen) },
    profile: { ...profileIdentity(profile, model), chosen },
    embedder: { name: embedder.name, fingerprint: embedder.fingerprint, dimensions: embedder.dimensions },
  };
}

/**
 * Opens a model, an embedder and a bank that belong together. What `profile` does not say is as in the bank, if it was written
 * with the same model.
 * @throws Memory3Error "mismatch" if the bank was written with others, and whatever opening each of them throws.
 * @example
 * await using workspace = await openWorkspace({ bank: 'notes' });
 * for await (const event of answer(workspace, [{ role: 'user', content: 'What did I write about bees?' }])) { ... }
 */
export async function openWorkspace(options: WorkspaceOptions = {}): Promise<Workspace> {
  const path = bankPath(options.bank ?? 'default');
  // Before a model is fetched for nothing.
  if (options.bankMode !== 'write') checkExists(path);
  await using opening = new AsyncDisposableStack();
  const opened = opening.use(await openModelFor(readIdentity(path), options));
  const embedder = opening.use(
    await openEmbedder(options.embedder ?? defaultEmbedder, opened.model.device, options.fetch),
  );
  const bank = opening.use(
    openBank(path, {
      mode: options.bankMode ?? 'read',
      identity: await identityOf(opened, embedder),
      ...(options.onNotice === undefined ? {} : { onNotice: options.onNotice }),
    }),
  );
  const fault = pendingFault(bank.path, bank.stats().pending);
  if (fault !== null)
    options.onNotice?.(`${fault.what} Until then answers find them in part or not at all. ${fault.remedy}`);
  const recall = new MemoryRecall({ ...opened, bank, embedder }, options.recall);
  const resources = opening.move();
  return { ...opened, embedder, bank, recall, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}
