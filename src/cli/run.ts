/**
 * What a program of the command line does around its work: turns whatever happened into a message and an exit code. A
 * reader that goes away (`| head`) ends it quietly; where nobody reads messages, the work goes on without them.
 */
import { CommanderError } from 'commander';
import picocolors from 'picocolors';
import { Memory3Error, messageOf } from '../errors.ts';
import { exitCodes } from './exit.ts';
import type { Interrupt } from './interrupt.ts';

/** Does the work and sets the process's exit code. */
export async function runProgram(interrupt: Interrupt, work: () => Promise<void>): Promise<void> {
  let withoutOutput: number | undefined;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (withoutOutput !== undefined) return;
    const remedy = 'Free some space, or write it elsewhere.';
    withoutOutput =
      error.code === 'EPIPE'
        ? exitCodes.ok
        : report(new Memory3Error('disk', `The output cannot be written: ${error.message}.`, { remedy }));
    // The work may have ended before the error is told.
    process.exitCode = withoutOutput;
    if (!interrupt.stop()) process.exit(withoutOutput);
  });
  process.stderr.on('error', () => {});
  try {
    await work();
    if (interrupt.happened) process.exitCode = exitCodes.interrupted;
  } catch (error) {
    // That an interrupted command ended early is no news; that its state could not be kept is.
    const isNews = !interrupt.happened || (error instanceof Memory3Error && error.code === 'disk');
    process.exitCode = isNews ? report(error) : exitCodes.interrupted;
  }
  // What ended the work is known, and was said, before.
  if (withoutOutput !== undefined) process.exitCode = withoutOutput;
}

/** Prints an error for people and returns its exit code. */
function report(error: unknown): number {
  // Commander has printed its own message, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  const known = error instanceof Memory3Error;
  const colours = picocolors.createColors(process.stderr.isTTY === true && picocolors.isColorSupported);
  process.stderr.write(`${colours.red('error:')} ${messageOf(error)}\n`);
  if (process.env.MEMORY3_DEBUG) console.error(error);
  else if (!known) process.stderr.write('This was not expected. MEMORY3_DEBUG=1 shows where it happened.\n');
  return known ? exitCodes[error.code] : exitCodes.failure;
}
