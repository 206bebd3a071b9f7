/** Which provider ran each operator, read from the profile that a session writes when it is released. */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';

const eventsSchema = z.array(
  z.object({
    name: z.string(),
    dur: z.number().optional(),
    args: z
      .object({
        op_name: z.string().optional(),
        provider: z.string().optional(),
        output_type_shape: z.array(z.record(z.string(), z.unknown())).optional(),
      })
      .optional(),
  }),
);

export interface OperatorProfile {
  /** For example "CPUExecutionProvider". */
  readonly provider: string;
  /** For example "MatMulNBits". */
  readonly operator: string;
  /** It only makes integers, which are shapes; those are computed on the CPU whatever the provider. */
  readonly shapes: boolean;
  /** Places in the graph. */
  readonly nodes: number;
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
  const totals = new Map<
    string,
    Omit<OperatorProfile, 'nodes'> & { runs: number; milliseconds: number; names: Set<string> }
  >();
  for (const file of files) {
    const events = eventsSchema.parse(JSON.parse(readFileSync(join(folder, file), 'utf8')));
    for (const { name, dur, args } of events) {
      if (!name.endsWith('_kernel_time') || args?.provider === undefined || args.op_name === undefined) continue;
      const { provider, op_name: operator, output_type_shape: outputs = [] } = args;
      const shapes =
        outputs.length > 0 && outputs.every((output) => Object.keys(output).every((type) => type === 'int64'));
      const key = `${provider} ${operator} ${shapes}`;
      const total = totals.get(key) ?? { provider, operator, shapes, runs: 0, milliseconds: 0, names: new Set() };
      total.runs++;
      total.milliseconds += (dur ?? 0) / 1000;
      total.names.add(`${file} ${name}`);
      totals.set(key, total);
    }
    rmSync(join(folder, file));
  }
  return [...totals.values()]
    .map(({ names, ...total }) => ({ ...total, nodes: names.size }))
    .sort((a, b) => b.milliseconds - a.milliseconds);
}
