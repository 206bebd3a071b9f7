/** Peak memory of answering a question, measured in a process of its own. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { answer } from '../generate/answer.ts';
import { openWorkspace } from '../generate/workspace.ts';

const question = 'What is the most important thing in these texts?';

/**
 * Opens model, embedder and bank in a new process, answers one question with memory, and looks at its largest resident
 * set. @returns megabytes (10^6 bytes).
 */
export async function measurePeakMemory(model: string, bank: string): Promise<number> {
  const options = ['--disable-warning=ExperimentalWarning', fileURLToPath(import.meta.url), model, bank];
  const { stdout } = await promisify(execFile)(process.execPath, options);
  return Number(stdout);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [model, bank] = process.argv.slice(2) as [string, string];
  await using workspace = await openWorkspace({ model, bank });
  for await (const event of answer(workspace, [{ role: 'user', content: question }], { maxTokens: 128 })) {
    if (event.kind === 'end') process.stdout.write(String((process.resourceUsage().maxRSS * 1024) / 1e6));
  }
}
