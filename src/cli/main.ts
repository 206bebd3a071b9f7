/** The command line's program: every command in one place. */
import { realpathSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { z } from 'zod';
import { addAdd, addRewrite } from './add.ts';
import { addAsk } from './ask.ts';
import { addBench } from './bench.ts';
import { addChat } from './chat.ts';
import type { AddCommand } from './command.ts';
import { addConvert } from './convert.ts';
import { addCost } from './cost.ts';
import { addDoctor } from './doctor.ts';
import { addEval } from './eval.ts';
import { exitCodesHelp } from './exit.ts';
import { createInterrupt, type Interrupt } from './interrupt.ts';
import { addList } from './list.ts';
import { addPull } from './pull.ts';
import { addRemove } from './remove.ts';
import { runProgram } from './run.ts';
import { addShow } from './show.ts';
import { addStats } from './stats.ts';
import { addTrain } from './train.ts';
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
  addEval,
  addConvert,
  addCost,
  addTrain,
];

const environmentHelp = `Environment:
  MEMORY3_HOME           where models and banks live (default: the XDG folders)
  MEMORY3_OFFLINE=1      --offline for every command; HF_HUB_OFFLINE=1 too
  HF_TOKEN, HF_ENDPOINT  for Hugging Face: access, and a mirror
  MEMORY3_DEBUG=1        shows where an error happened`;

/** Runs one command line and sets the process's exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  const interrupt = createInterrupt();
  await runProgram(interrupt, async () => {
    await createProgram(await version(), interrupt).parseAsync(argv);
  });
}

function createProgram(versionText: string, interrupt: Interrupt): Command {
  const program = new Command('memory3')
    .description('A local language model that knows your texts.')
    .version(versionText)
    .exitOverride()
    // Flags behind a subcommand's name are its own, though the command above it may have some that are called the same.
    .enablePositionalOptions()
    .showHelpAfterError('(--help shows how)')
    .addHelpText('after', `\n${exitCodesHelp}\n\n${environmentHelp}`)
    .configureHelp({ showGlobalOptions: false });
  for (const addCommand of commands) addCommand(program, interrupt);
  return program;
}

async function version(): Promise<string> {
  const file = new URL('../../package.json', import.meta.url);
  return z.object({ version: z.string() }).parse(JSON.parse(await readFile(file, 'utf8'))).version;
}

const started = process.argv[1];
if (started !== undefined && realpathSync(started) === fileURLToPath(import.meta.url)) await main(process.argv);
