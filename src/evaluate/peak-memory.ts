/** Peak memory of answering a question, measured in a process of its own. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { answer } from '../generate/answer.ts';
import { openWorkspace, type WorkspaceOptions } from '../generate/workspace.ts';

const question = 'What is the most important thing in these texts?';

/** How model, embedder and bank are opened. */
export type PeakMemoryOptions = Pick<
  WorkspaceOptions,
  'model' | 'adapter' | 'profile' | 'embedder' | 'bank' | 'provider' | 'threads'
> & { readonly fetch?: { readonly offline?: boolean } };

/**
 * Opens model, embedder and bank in a new process, answers one question with memory, and looks at its largest resident
 * set. @returns megabytes (10^6 bytes).
 */
export async function measurePeakMemory(options: PeakMemoryOptions): Promise<number> {
  const self = fileURLToPath(import.meta.url);
  const flags = ['--disable-warning=ExperimentalWarning', self, JSON.stringify(options)];
  const { stdout } = await promisify(execFile)(process.execPath, flags);
  return Number(stdout);
}

/** Linux counts the parent's memory into a child's maxRSS, but not into its own high-water mark. */
function peakKilobytes(): number {
  const status = '/proc/self/status';
  const mark = existsSync(status) ? /VmHWM:\s+(\d+) kB/.exec(readFileSync(status, 'utf8'))?.[1] : undefined;
  return mark === undefined ? process.resourceUsage().maxRSS : Number(mark);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await using workspace = await openWorkspace(JSON.parse(process.argv[2] as string) as PeakMemoryOptions);
  for await (const event of answer(workspace, [{ role: 'user', content: question }], { maxTokens: 128 })) {
    if (event.kind === 'end') process.stdout.write(String(peakKilobytes() * 1.024e-3));
  }
}
