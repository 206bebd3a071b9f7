/** Opens the file named on the command line; prints how it went, how long it took and how much memory it needed (Linux). */
import { readFileSync, writeFileSync } from 'node:fs';
import { Memory3Error } from '../../src/errors.ts';
import { openModelFile } from '../../src/model/open.ts';

/** "VmRSS" is the memory in use, "VmHWM" its highest mark. (getrusage's mark begins with the parent's.) */
function megabytes(field: 'VmRSS' | 'VmHWM'): number {
  const line = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(readFileSync('/proc/self/status', 'latin1'));
  return Number(line?.[1]) / 1024;
}

const [path = ''] = process.argv.slice(2);
// Resets the highest mark to the memory in use.
writeFileSync('/proc/self/clear_refs', '5');
const before = megabytes('VmRSS');
const start = performance.now();
let outcome = 'opened';
try {
  using _model = await openModelFile(path);
} catch (error) {
  outcome = error instanceof Memory3Error ? `${error.code}: ${error.message}` : `thrown: ${error}`;
}
const milliseconds = performance.now() - start;
console.log(JSON.stringify({ outcome, milliseconds, megabytes: megabytes('VmHWM') - before }));
