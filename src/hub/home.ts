/** Where models and banks live: under `MEMORY3_HOME`, else in the user's XDG cache and data folders. */
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { Memory3Error } from '../errors.ts';

/** Environment variables, `process.env` unless a caller brings its own. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Ending of a bank's file. */
export const bankExtension = '.memory3';

/** The folder of downloaded models: they can be fetched again, so this is a cache. */
export function modelsFolder(env: Environment = process.env): string {
  return folder(env, 'models', 'XDG_CACHE_HOME', '.cache');
}

/** The folder of memory banks: the user's own data. */
export function banksFolder(env: Environment = process.env): string {
  return folder(env, 'banks', 'XDG_DATA_HOME', join('.local', 'share'));
}

/**
 * The file of a bank. A plain name lies in {@link banksFolder}; a path (with a separator, or ending in
 * `.memory3`) is taken as it stands.
 *
 * @example bankPath('notes') // ~/.local/share/memory3/banks/notes.memory3
 * @throws Memory3Error "usage" if the name is neither.
 */
export function bankPath(name: string, env: Environment = process.env): string {
  if (/[/\\]/.test(name) || name.endsWith(bankExtension)) return resolve(name);
  if (!/^[\p{L}\p{N}_][\p{L}\p{N}_. -]*$/u.test(name)) {
    throw new Memory3Error('usage', `"${name}" is no name for a bank.`, {
      remedy: 'Use letters, digits, "_", "-", "." and spaces, or give a path.',
    });
  }
  return join(banksFolder(env), name + bankExtension);
}

function folder(env: Environment, leaf: string, variable: string, fallback: string): string {
  const home = env.MEMORY3_HOME;
  if (home) return resolve(home, leaf);
  const base = env[variable];
  // The XDG specification asks for relative paths to be ignored.
  return join(base && isAbsolute(base) ? base : join(homedir(), fallback), 'memory3', leaf);
}
