/** Exit codes: one for each kind of fault, so that a script need not read messages. */
import type { ErrorCode } from '../errors.ts';

export const exitCodes = {
  ok: 0,
  failure: 1,
  usage: 2,
  'not-found': 3,
  damaged: 4,
  locked: 5,
  mismatch: 6,
  network: 7,
  unsupported: 8,
  'too-long': 9,
  disk: 10,
  diverged: 11,
  interrupted: 130,
} as const satisfies Record<ErrorCode | 'ok' | 'failure' | 'interrupted', number>;

/** For `--help`: what each code means. */
export const exitCodesHelp = `Exit codes:
  0 done                          6 bank and model do not belong together
  1 failed                        7 a source could not be reached
  2 wrong use                     8 not supported here
  3 not found                     9 prompt too long
  4 damaged, or verify found it  10 reading or writing a disk failed
  5 somebody else is writing     11 training diverged
                                130 interrupted (Ctrl+C)`;
