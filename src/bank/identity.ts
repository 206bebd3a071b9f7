/** A bank's identity: stored as JSON, compared by fingerprint, refused in words. */
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';
import { memoryProfileSchema } from '../memory/profile.ts';
import type { BankIdentity } from './bank.ts';

const part = z.strictObject({ name: z.string(), fingerprint: z.string().min(1) });
export const identitySchema = z.strictObject({
  model: part,
  profile: part.extend({ chosen: memoryProfileSchema.omit({ header: true }).optional() }),
  embedder: part.extend({ dimensions: z.int().positive() }),
});

export type IdentityPart = keyof BankIdentity;
const identityParts: readonly IdentityPart[] = ['model', 'profile', 'embedder'];

/** How a command asks for each part. */
const flags: Readonly<Record<IdentityPart, string>> = {
  model: '--model with --adapter or --no-adapter',
  profile: '--layers, --kept, --scoring, --storage',
  embedder: '--embedder',
};

/** The parts in which two identities differ. */
export function differences(a: BankIdentity, b: BankIdentity): IdentityPart[] {
  return identityParts.filter(
    (key) =>
      a[key].fingerprint !== b[key].fingerprint ||
      (key === 'embedder' && a.embedder.dimensions !== b.embedder.dimensions),
  );
}

/** @throws Memory3Error "mismatch" that names both sides and the command that rewrites the bank. */
export function checkIdentity(path: string, stored: BankIdentity, wanted: BankIdentity): void {
  const different = differences(stored, wanted);
  if (different.length === 0) return;
  const side = (identity: BankIdentity) =>
    different.map((key) => `${key} ${identity[key].name} (${identity[key].fingerprint.slice(0, 12)})`).join(', ');
  const chosen = different.includes('profile') ? profileFlags(wanted.profile.chosen) : '';
  const others = different.filter((key) => key !== 'profile').map((key) => flags[key]);
  const asked = others.length === 0 ? '' : ` with the same ${others.join(', ')}`;
  throw new Memory3Error('mismatch', `The bank ${path} was written with ${side(stored)}, not with ${side(wanted)}.`, {
    remedy: `Use what it was written with (${different.map((key) => flags[key]).join(', ')}), or run \`memory3 rewrite ${path}${chosen}\`${asked} to write its memories again.`,
  });
}

/** What `rewrite` must be told: it takes the adapter's profile where nothing is said. */
function profileFlags(chosen: BankIdentity['profile']['chosen']): string {
  if (chosen === undefined) return '';
  const { layers, keptTokens, scoring, storage } = chosen;
  return ` --layers ${layers} --kept ${keptTokens} --scoring ${scoring} --storage ${storage}`;
}
