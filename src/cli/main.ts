/**
 * The command line's program: parse, run, turn whatever happened into a message and an exit code.
 *
 * A reader that goes away (`| head`) ends the program quietly.
 */
import { realpathSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError } from 'commander';
import picocolors from 'picocolors';
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';
import { addAdd, addRewrite } from './add.ts';
import { addAsk } from './ask.ts';
import { addBench } from './bench.ts';
import { addChat } from './chat.ts';
import type { AddCommand } from './command.ts';
import { addDoctor } from './doctor.ts';
import { exitCodes, exitCodesHelp } from './exit.ts';
import { createInterrupt, type Interrupt } from './interrupt.ts';
import { addList } from './list.ts';
import { addPull } from './pull.ts';
import { addRemove } from './remove.ts';
import { addShow } from './show.ts';
import { addStats } from './stats.ts';
import { addExport, addImport } from './transfer.ts';
import { addVerify } from './verify.ts';

const commands: readonly AddCommand[] = [
  addPull,
  addAdd,
  addRemove,
  addList,
  addShow,
  addStats,
  addVerify,
  addRewrite,
  addExport,
  addImport,
  addAsk,
  addChat,
  addDoctor,
  addBench,
];

/** Runs one command line and sets the process's exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  const interrupt = createInterrupt();
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exitCodes.ok);
    throw error;
  });
  try {
    await createProgram(await version(), interrupt).parseAsync(argv);
    if (interrupt.happened) process.exitCode = exitCodes.interrupted;
  } catch (error) {
    process.exitCode = interrupt.happened ? exitCodes.interrupted : report(error);
  }
}

function createProgram(versionText: string, interrupt: Interrupt): Command {
  const program = new Command('memory3')
    .description('A local language model that knows your texts.')
    .version(versionText)
    .exitOverride()
    .showHelpAfterError('(--help shows how)')
    .addHelpText('after', `\n${exitCodesHelp}\n\nModels and banks live under $MEMORY3_HOME, else in the XDG folders.`)
    .configureHelp({ showGlobalOptions: false });
  for (const addCommand of commands) addCommand(program, interrupt);
  return program;
}

/** Prints an error for people and returns its exit code. */
function report(error: unknown): number {
  // Commander has printed its own message, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  const known = error instanceof Memory3Error;
  const colours = picocolors.createColors(process.stderr.isTTY === true && picocolors.isColorSupported);
  process.stderr.write(`${colours.red('error:')} ${error instanceof Error ? error.message : String(error)}\n`);
  if (process.env.MEMORY3_DEBUG) console.error(error);
  else if (!known) process.stderr.write('This was not expected. MEMORY3_DEBUG=1 shows where it happened.\n');
  return known ? exitCodes[error.code] : exitCodes.failure;
}

async function version(): Promise<string> {
  const file = new URL('../../package.json', import.meta.url);
  return z.object({ version: z.string() }).parse(JSON.parse(await readFile(file, 'utf8'))).version;
}

const started = process.argv[1];
if (started !== undefined && realpathSync(started) === fileURLToPath(import.meta.url)) await main(process.argv);
