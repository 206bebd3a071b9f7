/** `memory3 pull`: fetch models, or list what there is. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { Memory3Error } from '../errors.ts';
import { openAdaptedModel, type ShippedAdapter, shippedAdapters } from '../generate/adapted-model.ts';
import { defaultEmbedder, defaultLanguageModel } from '../hub/catalogue.ts';
import { type FetchOptions, fetchModel, listModels } from '../hub/fetch.ts';
import { adapterFileName } from '../memory/adapter.ts';
import { newCommand, terminalOf } from './command.ts';
import type { Interrupt } from './interrupt.ts';
import { formatBytes, type Progress, type Terminal, table } from './terminal.ts';

export function addPull(program: Command, interrupt: Interrupt): void {
  newCommand(program, 'pull [models...]', 'fetch models: by default the language model and the embedder', [
    'pull',
    'pull --list',
    'pull hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q4_0.gguf',
  ])
    .option('--list', 'list the known models and whether they are here')
    .option('--offline', 'never use the network')
    .action(async (models: string[], flags: { list?: boolean; offline?: boolean; json?: boolean }) => {
      const terminal = terminalOf(flags);
      const signal = interrupt.signal();
      if (flags.list) {
        if (models.length > 0) {
          const remedy = 'Leave out --list to fetch what is named.';
          throw new Memory3Error('usage', `${models.join(', ')}: --list lists all models.`, { remedy });
        }
        const listed = [...(await listModels()), ...shippedAdapters().map(listedAdapter)];
        terminal.results(listed, () =>
          table(
            ['name', 'use', 'size', 'state', 'licence', 'description'],
            listed.map((model) => [
              model.name,
              model.use,
              formatBytes(model.bytes),
              model.state,
              model.license ?? '?',
              model.description,
            ]),
          ),
        );
        return;
      }
      for (const name of models.length > 0 ? models : [defaultLanguageModel, defaultEmbedder]) {
        using fetching = showFetching(terminal, signal, flags.offline);
        const path = await fetchModel(name, fetching.options);
        if (name === defaultLanguageModel) await prepareAdapter(path, fetching.options);
        terminal.result({ name, path }, () => `${name}  ${path}`);
      }
    });
}

/** An adapter that ships with the project, as `--list` shows models. */
function listedAdapter({ path, card }: ShippedAdapter) {
  const bytes = statSync(join(path, adapterFileName)).size;
  const description = `for ${card.base.name}; merged into it unless --no-adapter is given`;
  return { name: card.name, use: 'adapter', description, license: card.licence, bytes, path, state: 'ready' } as const;
}

/** Merges the adapter that ships for the model, so that the first question need not wait for it. */
async function prepareAdapter(path: string, fetch: FetchOptions): Promise<void> {
  const { file } = await openAdaptedModel(path, { fetch });
  file[Symbol.dispose]();
}

/** Options that show downloads and notices on the terminal; dispose of them when the downloads are over. */
export function showFetching(
  terminal: Terminal,
  signal: AbortSignal,
  offline?: boolean,
): { readonly options: FetchOptions } & Disposable {
  const bars = new Map<string, Progress>();
  return {
    options: {
      signal,
      ...(offline === undefined ? {} : { offline }),
      onProgress: ({ name, done, total }) => {
        const bar = bars.get(name) ?? terminal.progress(name, formatBytes);
        bars.set(name, bar);
        bar.update(done, total);
        if (done === total) bar[Symbol.dispose]();
      },
      onNotice: (message) => terminal.notice(message),
    },
    [Symbol.dispose]() {
      for (const bar of bars.values()) bar[Symbol.dispose]();
    },
  };
}
