/** Which provider ran each operator, read from the profile that a session writes when it is released. */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';

const eventsSchema = z.array(
  z.object({
    name: z.string(),
    dur: z.number().optional(),
    args: z.object({ op_name: z.string().optional(), provider: z.string().optional() }).optional(),
  }),
);

export interface OperatorProfile {
  /** For example "CPUExecutionProvider". */
  readonly provider: string;
  /** For example "MatMulNBits". */
  readonly operator: string;
  readonly runs: number;
  readonly milliseconds: number;
}

/**
 * Reads and deletes the profiles whose file names begin with `prefix` (see `SessionModel.profilePrefix`).
 * @returns one entry for each provider and operator, the slowest first.
 */
export function takeProfiles(prefix: string): OperatorProfile[] {
  const folder = dirname(prefix);
  const files = readdirSync(folder).filter((file) => file.startsWith(basename(prefix)));
  const totals = new Map<string, { provider: string; operator: string; runs: number; milliseconds: number }>();
  for (const file of files) {
    const events = eventsSchema.parse(JSON.parse(readFileSync(join(folder, file), 'utf8')));
    for (const { name, dur, args } of events) {
      if (!name.endsWith('_kernel_time') || args?.provider === undefined || args.op_name === undefined) continue;
      const key = `${args.provider} ${args.op_name}`;
      const total = totals.get(key) ?? { provider: args.provider, operator: args.op_name, runs: 0, milliseconds: 0 };
      total.runs++;
      total.milliseconds += (dur ?? 0) / 1000;
      totals.set(key, total);
    }
    rmSync(join(folder, file));
  }
  return [...totals.values()].sort((a, b) => b.milliseconds - a.milliseconds);
}
