/**
 * Preferences as pairs of training samples (Rafailov et al. 2023, Direct Preference Optimization): the same prompt with the answer
 * that is preferred and with the other. The loss compares log-likelihoods summed over answer tokens; those have the weight 1.
 */
import { isDeepStrictEqual } from 'node:util';
import { type ChatEncoding, encodeConversation, type TrainingSample } from './chat-examples.ts';
import type { Preference } from './conversations.ts';

export interface PreferencePair {
  readonly chosen: TrainingSample;
  readonly rejected: TrainingSample;
  /** Both are the same, so nothing is preferred and the gradient is 0. */
  readonly identical: boolean;
}

/**
 * Encodes a preference; only the last answer has a loss, earlier ones belong to the prompt.
 * @throws Memory3Error as `encodeConversation`.
 * @example
 * for await (const preference of readPreferences(files)) encodePreference({ template, tokenizer }, preference);
 */
export function encodePreference(encoding: ChatEncoding, preference: Preference): PreferencePair {
  const [chosen, rejected] = [preference.chosen, preference.rejected].map((content) =>
    encodeConversation(encoding, [...preference.messages, { role: 'assistant', content }], {
      answers: 'last',
      origin: preference.origin,
    }),
  ) as [TrainingSample, TrainingSample];
  return { chosen, rejected, identical: isDeepStrictEqual(chosen.tokens, rejected.tokens) };
}
