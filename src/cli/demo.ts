/**
 * `npm run demo`: from nothing to answers. Fetches the default model and embedder, writes the library of texts that the
 * project ships into a bank of its own, and asks it three questions with and without memory.
 */
import { fileURLToPath } from 'node:url';
import { glob } from 'tinyglobby';
import { answer } from '../generate/answer.ts';
import { addSources } from '../generate/library.ts';
import { openWorkspace, type Workspace } from '../generate/workspace.ts';
import { describeCitations, describeTimes } from './answering.ts';
import { createInterrupt } from './interrupt.ts';
import { showFetching } from './pull.ts';
import { runProgram } from './run.ts';
import { formatDuration, openTerminal, type Terminal } from './terminal.ts';

const library = new URL('../../assets/library/', import.meta.url);
/** Answers stand in the library; a model of 135 million parameters makes them up without it. */
const questions = ['Who is Stanley Prusiner?', 'What is kuru?', 'Who composed An American in Paris?'];
const longestAnswer = 64;

const interrupt = createInterrupt();
await runProgram(interrupt, async () => {
  const terminal = openTerminal({ json: false });
  const signal = interrupt.signal();
  await using workspace = await openDemo(terminal, signal);
  await fillBank(workspace, terminal, signal);
  for (const question of questions) {
    terminal.result(null, () => `\n${terminal.colours.bold(question)}`);
    for (const mode of ['memory', 'none'] as const) await ask(workspace, question, mode, terminal, signal);
  }
  terminal.notice('\nAsk it yourself: npx memory3 ask --bank demo "..."');
});

async function openDemo(terminal: Terminal, signal: AbortSignal): Promise<Workspace> {
  using fetching = showFetching(terminal, signal);
  return await openWorkspace({ bank: 'demo', bankMode: 'write', fetch: fetching.options });
}

/** Writes the library; on the next run everything is there already. */
async function fillBank(workspace: Workspace, terminal: Terminal, signal: AbortSignal): Promise<void> {
  const files = await glob(['*', '!README.md'], { cwd: fileURLToPath(library), absolute: true });
  using bar = terminal.progress('memories');
  for await (const event of addSources(workspace, files, { signal })) {
    if (event.kind !== 'memories') continue;
    const rate = `${event.tokensPerSecond.toFixed(0)} tokens/s`;
    bar.update(event.done, event.total, `${rate}, ${formatDuration(event.secondsLeft)} left`);
  }
  bar[Symbol.dispose]();
  const { documents, references, memories } = workspace.bank.stats();
  terminal.notice(`The bank holds ${documents} documents, ${references} references, ${memories} memories.`);
}

async function ask(
  workspace: Workspace,
  question: string,
  mode: 'memory' | 'none',
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  const label = mode === 'memory' ? 'with memory' : 'without memory';
  terminal.stream(`\n${terminal.colours.cyan(label)}\n`);
  const messages = [{ role: 'user', content: question } as const];
  for await (const event of answer(workspace, messages, { mode, maxTokens: longestAnswer }, signal)) {
    if (event.kind === 'text') terminal.stream(event.text);
    if (event.kind !== 'end') continue;
    const cut = event.summary.finish === 'length' ? ' …' : '';
    terminal.stream(`${cut}\n`);
    terminal.result(event.summary, () => describeCitations(event.summary, terminal));
    terminal.notice(describeTimes(event.summary));
  }
}
