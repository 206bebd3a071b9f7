/** Peak memory of answering a question, measured in a process of its own. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { answer } from '../generate/answer.ts';
import { openWorkspace } from '../generate/workspace.ts';

const question = 'What is the most important thing in these texts?';

/**
 * Opens model, embedder and bank in a new process, answers one question with memory, and looks at its largest resident
 * set. @returns megabytes (10^6 bytes).
 */
export async function measurePeakMemory(model: string, adapter: string | null, bank: string): Promise<number> {
  const options = ['--disable-warning=ExperimentalWarning', fileURLToPath(import.meta.url), model, bank, adapter ?? ''];
  const { stdout } = await promisify(execFile)(process.execPath, options);
  return Number(stdout);
}

/** Linux counts the parent's memory into a child's maxRSS, but not into its own high-water mark. */
function peakKilobytes(): number {
  const status = '/proc/self/status';
  const mark = existsSync(status) ? /VmHWM:\s+(\d+) kB/.exec(readFileSync(status, 'utf8'))?.[1] : undefined;
  return mark === undefined ? process.resourceUsage().maxRSS : Number(mark);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [model, bank, adapter] = process.argv.slice(2) as [string, string, string];
  await using workspace = await openWorkspace({ model, bank, adapter: adapter === '' ? null : adapter });
  for await (const event of answer(workspace, [{ role: 'user', content: question }], { maxTokens: 128 })) {
    if (event.kind === 'end') process.stdout.write(String(peakKilobytes() * 1.024e-3));
  }
}
