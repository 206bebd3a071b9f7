/** `memory3 doctor`: is this machine ready? */
import type { Command } from 'commander';
import { type Check, examine } from '../generate/doctor.ts';
import { fetchModel } from '../hub/fetch.ts';
import { newCommand, terminalOf } from './command.ts';
import { exitCodes } from './exit.ts';
import type { Interrupt } from './interrupt.ts';
import {
  type AdapterFlags,
  adapterOptions,
  addAdapterFlags,
  addDeviceFlags,
  addOfflineFlag,
  type DeviceFlags,
  deviceOptions,
} from './options.ts';
import { showFetching } from './pull.ts';
import type { Terminal } from './terminal.ts';

interface DoctorFlags extends DeviceFlags, AdapterFlags {
  readonly model?: string;
  readonly offline?: boolean;
  readonly json?: boolean;
}

export function addDoctor(program: Command, interrupt: Interrupt): void {
  const command = newCommand(program, 'doctor', 'check this machine, and run the model on the device', [
    'doctor',
    'doctor --device webgpu',
    'doctor --no-adapter',
  ]).option('--model <name>', 'the model to try');
  addAdapterFlags(addDeviceFlags(addOfflineFlag(command))).action(async (flags: DoctorFlags) => {
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    using fetching = showFetching(terminal, signal, flags.offline);
    const modelPath = flags.model === undefined ? {} : { modelPath: await fetchModel(flags.model, fetching.options) };
    const options = { ...deviceOptions(flags), ...adapterOptions(flags), ...modelPath, fetch: fetching.options };
    let failed = false;
    for await (const check of examine(options)) {
      signal.throwIfAborted();
      fetching[Symbol.dispose]();
      failed ||= check.state === 'failed';
      terminal.result(check, () => describe(check, terminal));
    }
    if (failed) process.exitCode = exitCodes.failure;
  });
}

function describe({ state, name, detail, remedy }: Check, { colours }: Terminal): string {
  const mark = { ok: colours.green('ok     '), warning: colours.yellow('warning'), failed: colours.red('failed ') }[
    state
  ];
  return `${mark} ${name}: ${detail}${remedy === null ? '' : `\n        ${remedy.replaceAll('\n', '\n        ')}`}`;
}
