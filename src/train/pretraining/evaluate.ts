/**
 * What a model makes of the validation sequences without memories and with them, whatever it was trained with: a model that
 * never saw memories is measured with them too, and the reverse.
 */
import { Memory3Error } from '../../errors.ts';
import { chooseProfile, type ProfileChoice, repeatPrompt } from '../../memory/choose-profile.ts';
import { openModelFile } from '../../model/open.ts';
import { tokenizerOf } from '../../model/open-tokenizer.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { Device, type DeviceOptions } from '../../runtime/device.ts';
import { tokenizerFingerprint } from '../data/knowledge.ts';
import { ModelTrainer } from '../model-trainer.ts';
import { checkMeasurable, openPrepared } from './prepared.ts';
import { meanOf, type PretrainingMemory, sequenceLosses } from './pretraining.ts';
import { checkRoom, pretrainedProfile, sourcesOf } from './stage.ts';

export interface EvaluateOptions {
  /** The model's folder. */
  readonly model: string;
  /** As `prepareTraining` makes it, with the model's tokenizer. */
  readonly corpus: string;
  /** What differs from `pretrainedProfile`. */
  readonly memory?: ProfileChoice;
  /** Most sequences, taken evenly from all; default all. */
  readonly sequences?: number;
  readonly passSequences?: number;
  readonly device?: DeviceOptions;
  readonly signal?: AbortSignal;
}

export interface MeasuredLoss {
  /** Nats per token, mean over the sequences. */
  readonly loss: number;
  /** Of each sequence, in one order, so that models can be compared pair by pair. */
  readonly sequences: readonly number[];
}

export interface Evaluation {
  readonly plain: MeasuredLoss;
  /** Null where the corpus has no knowledge. */
  readonly memory: MeasuredLoss | null;
}

/**
 * @throws Memory3Error "usage" if the corpus has no validation sequence; "mismatch" if it has other tokens than the model; what
 *   opening the model and the corpus throws.
 */
export async function evaluatePretraining(options: EvaluateOptions): Promise<Evaluation> {
  const { passSequences = 4, sequences = Number.POSITIVE_INFINITY, signal } = options;
  using prepared = openPrepared(options.corpus);
  checkMeasurable(prepared);
  using file = await openModelFile(options.model);
  checkTokens(options, prepared.tokenizer, tokenizerOf(file));
  const { validation } = sourcesOf(prepared);
  const profile = chooseProfile(file.config, prepared.tokenizer, { ...pretrainedProfile, ...options.memory });
  const longest = prepared.corpus.validation.sequenceLength;
  checkRoom(file.config, longest, validation.references !== null);
  await using device = new Device(options.device ?? {});
  await using trainer = await ModelTrainer.open(file, device, { lora: null, longest });
  const measure = async (memory: PretrainingMemory | null): Promise<MeasuredLoss> => {
    const losses = await sequenceLosses(trainer, validation, {
      memory,
      count: sequences,
      passSequences,
      ...(signal === undefined ? {} : { signal }),
    });
    return { loss: meanOf(losses), sequences: losses };
  };
  return {
    plain: await measure(null),
    memory:
      validation.references === null
        ? null
        : await measure({ profile, repeatPrompt: repeatPrompt(prepared.tokenizer) }),
  };
}

/** The same numbers may be other texts: their loss would mean nothing. */
function checkTokens({ model, corpus }: EvaluateOptions, ofCorpus: Tokenizer, ofModel: Tokenizer): void {
  if (tokenizerFingerprint(ofCorpus) === tokenizerFingerprint(ofModel)) return;
  throw new Memory3Error('mismatch', `${corpus} was prepared with another tokenizer than that of ${model}.`, {
    remedy: "Name the corpus that the model was trained on, or prepare one with the model's tokenizer (--tokenizer).",
  });
}
