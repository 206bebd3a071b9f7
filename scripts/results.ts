/**
 * docs/results.md in one command: builds the banks, evaluates the default model as it comes and with its adapter, measures
 * throughput, and writes the page. What is measured stands in src/evaluate/results/plan.ts. Run again it goes on where it
 * stopped; what is finished is kept beside the page, in docs/results. Without --data it only writes the page anew.
 *
 *   node scripts/results.ts --data data --out runs/results --docs docs/results.md
 */
import { join, parse } from 'node:path';
import { Command, Option } from 'commander';
import { limitsOption } from '../src/cli/eval-options.ts';
import { createInterrupt } from '../src/cli/interrupt.ts';
import {
  addDeviceFlags,
  addOfflineFlag,
  type DeviceFlags,
  definedOnly,
  deviceOptions,
  refuseIdle,
} from '../src/cli/options.ts';
import { showFetching } from '../src/cli/pull.ts';
import { runProgram } from '../src/cli/run.ts';
import { openTerminal, type Progress, type Terminal } from '../src/cli/terminal.ts';
import { Memory3Error } from '../src/errors.ts';
import { measureResults, type ResultsEvent, type ResultsModels } from '../src/evaluate/results/measure.ts';
import { remarksOf, writeResultsPage } from '../src/evaluate/results/page.ts';
import { type ModelName, modelNames, type ResultsPlan, resultsPlan, tinyPlan } from '../src/evaluate/results/plan.ts';
import { readResults } from '../src/evaluate/results/stored.ts';
import { type OpenedModel, openModel, openWorkspace } from '../src/generate/workspace.ts';
import { defaultEmbedder } from '../src/hub/catalogue.ts';
import { openEmbedder } from '../src/retrieval/embedder.ts';

interface Flags extends DeviceFlags {
  readonly data?: string;
  readonly out: string;
  readonly docs?: string;
  readonly parts?: string;
  readonly only?: ModelName;
  readonly limit?: Pick<ResultsPlan, 'limit' | 'limits'>;
  readonly tiny?: boolean;
  readonly model?: string;
  readonly adapter?: string;
  readonly embedder?: string;
  readonly offline?: boolean;
}

const interrupt = createInterrupt();
await runProgram(interrupt, async () => {
  const names = resultsPlan.parts.map(({ name }) => name);
  const command = new Command('results')
    .option('--data <folder>', "folder of the data sets' folders; without it nothing is measured")
    .option('--out <folder>', 'banks and runs', 'runs/results')
    .option(
      '--docs <file>',
      'the page, beside a folder of its name for what is finished (default: docs/results.md; with --limit or --tiny results.md in --out)',
    )
    .option('--parts <names>', `only these, with commas between them: ${names.join(', ')}`)
    .addOption(new Option('--only <model>', 'not both models, but one').choices([...modelNames]))
    .addOption(limitsOption('in the place of the plan: items of each task; for single ones 50,arc_easy=200'))
    .option('--tiny', 'two items of each task, to see whether all of it works')
    .option('--model <name>', 'in the place of the default model')
    .option('--adapter <path>', 'in the place of the adapter that ships for it')
    .option('--embedder <name>', 'in the place of the default embedder')
    .exitOverride();
  addDeviceFlags(addOfflineFlag(command));
  const flags = command.parse(process.argv).opts<Flags>();
  const terminal = openTerminal({ json: false });
  const plan = { ...(flags.tiny === true ? tinyPlan(resultsPlan) : resultsPlan), ...flags.limit };
  const { data, out } = flags;
  const isQuick = flags.tiny === true || flags.limit !== undefined;
  const docs = flags.docs ?? (isQuick ? join(out, 'results.md') : 'docs/results.md');
  const kept = keptBeside(docs);
  const writePage = () => {
    writeResultsPage(docs, readResults(out, plan, kept));
    terminal.notice(`Written: ${docs}`);
  };
  if (data === undefined) {
    const ofMeasuring = ['parts', 'only', 'model', 'adapter', 'embedder', 'offline', 'device', 'threads'];
    refuseIdle(command, ofMeasuring, 'without --data nothing is measured', 'add --data');
    return writePage();
  }
  // A page that cannot be written anew is better known now than after hours of measuring.
  remarksOf(docs, plan);
  const signal = interrupt.signal();
  using fetching = showFetching(terminal, signal, flags.offline);
  using progress = progressOf(terminal);
  try {
    const events = measureResults({
      ...{ out, kept, data, plan, signal },
      ...(flags.parts !== undefined && { parts: flags.parts.split(',').map((name) => name.trim()) }),
      ...(flags.only !== undefined && { only: [flags.only] }),
      models: modelsOf(flags, fetching.options, terminal),
      onNotice: (message) => terminal.notice(message),
    });
    for await (const event of events) {
      if (event.kind === 'part') writePage();
      else progress.show(event);
    }
  } finally {
    if (interrupt.happened) writePage();
  }
});

function modelsOf(flags: Flags, fetch: ReturnType<typeof showFetching>['options'], terminal: Terminal): ResultsModels {
  const options = (model: ModelName) => ({
    ...{ ...deviceOptions(flags), fetch },
    ...definedOnly({ model: flags.model, embedder: flags.embedder }),
    ...(model === 'base' ? { adapter: null } : definedOnly({ adapter: flags.adapter })),
  });
  return {
    threads: flags.threads ?? 0,
    async withBank(model, bank) {
      await using opening = new AsyncDisposableStack();
      const onNotice = (message: string) => terminal.notice(message);
      const wanted = { ...options(model), bank, bankMode: 'write', onNotice } as const;
      const workspace = opening.use(await openWorkspace(wanted));
      checkConverted(model, workspace);
      opening.move();
      return workspace;
    },
    async withEmbedder(model) {
      await using opening = new AsyncDisposableStack();
      const opened = opening.use(await openModel(options(model)));
      checkConverted(model, opened);
      const embedder = opening.use(await openEmbedder(flags.embedder ?? defaultEmbedder, opened.model.device, fetch));
      const resources = opening.move();
      return { ...opened, embedder, [Symbol.asyncDispose]: () => resources.disposeAsync() };
    },
  };
}

/** The folder of the page's name without its ending: docs/results of docs/results.md. */
function keptBeside(page: string): string {
  const { dir, name, ext } = parse(page);
  return join(dir, ext === '' ? `${name}-kept` : name);
}

/** @throws Memory3Error "usage" where base and converted would be the same */
function checkConverted(model: ModelName, { adapter, file }: OpenedModel): void {
  if (model === 'base' || adapter !== null) return;
  throw new Memory3Error('usage', `No adapter ships for ${file.name}, so it would not be converted.`, {
    remedy: 'Name one (--adapter).',
  });
}

/** Shows one bank or evaluation after the other. */
function progressOf(terminal: Terminal) {
  let shown: { readonly label: string; readonly bar: Progress; done: number } | undefined;
  const close = () => {
    shown?.bar[Symbol.dispose]();
    shown = undefined;
  };
  const barOf = (label: string) => {
    if (shown?.label === label) return shown;
    close();
    shown = { label, bar: terminal.progress(label), done: 0 };
    return shown;
  };
  return {
    show(one: Exclude<ResultsEvent, { kind: 'part' }>) {
      if (one.kind === 'run') {
        if (one.event.kind !== 'batch') return close();
        const { done, total, task, mode, tokensPerSecond } = one.event;
        barOf(one.name).bar.update(done, total, `${task} ${mode} ${tokensPerSecond.toFixed(0)} tokens/s`);
      } else if (one.event.kind === 'progress') {
        const { event, source } = one.event;
        if (event.kind === 'skipped') return terminal.notice(`${event.name} was skipped: ${event.reason}`);
        const own = barOf(`bank ${one.name}, ${source}`);
        own.bar.update(++own.done, null);
      }
    },
    [Symbol.dispose]: close,
  };
}
