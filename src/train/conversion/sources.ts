/** Where the conversion's data comes from: what a card has to name. */
import type { AdapterCard } from '../../memory/adapter-card.ts';

type DataSource = Omit<AdapterCard['data'][number], 'name' | 'examples'>;

/** Licence (SPDX) and attribution by the name of the data set; only sets whose licence lets trained weights be shared. */
const sources: Readonly<Record<string, DataSource>> = {
  squad: { licence: 'CC-BY-SA-4.0', source: 'SQuAD 1.1 and 2.0, P. Rajpurkar et al., from Wikipedia' },
  'xquad-en': { licence: 'CC-BY-SA-4.0', source: 'XQuAD, M. Artetxe et al., DeepMind' },
  'xquad-zh': { licence: 'CC-BY-SA-4.0', source: 'XQuAD, M. Artetxe et al., DeepMind' },
  cmrc2018: { licence: 'CC-BY-SA-4.0', source: 'CMRC 2018, Y. Cui et al.' },
  policyqa: { licence: 'MIT', source: 'PolicyQA, W. Ahmad et al.' },
  nq_openbook_short: { licence: 'CC-BY-SA-3.0', source: 'Natural Questions, Google, as packaged by MosaicML' },
  boolq: { licence: 'CC-BY-SA-3.0', source: 'BoolQ, C. Clark et al.' },
  quac: { licence: 'CC-BY-SA-4.0', source: 'QuAC, E. Choi et al., as packaged by MosaicML' },
  triviaqa: { licence: 'Apache-2.0', source: 'TriviaQA, M. Joshi et al.' },
  cuad: { licence: 'CC-BY-4.0', source: 'CUAD, The Atticus Project' },
  openstax: { licence: 'CC-BY-3.0', source: 'Biology, and Anatomy and Physiology, OpenStax College' },
  wiki_demo: { licence: 'CC-BY-SA-3.0', source: 'Wikipedia and its authors' },
  gsm8k: { licence: 'MIT', source: 'GSM8K, K. Cobbe et al., OpenAI' },
  dolly_hhrlhf: {
    licence: 'CC-BY-SA-3.0 AND MIT',
    source: 'Dolly 15k, Databricks; HH-RLHF, Anthropic; joined by MosaicML',
  },
  self_instruct_seed: { licence: 'Apache-2.0', source: 'Self-Instruct, Y. Wang et al.' },
};

/**
 * The rows of a card's table of data.
 * @param counts of the material that was trained on (`Material.counts`)
 * @throws Error for a data set whose licence nobody has entered
 */
export function attributions(counts: Readonly<Record<string, Readonly<Record<string, number>>>>): AdapterCard['data'] {
  const examples = new Map<string, number>();
  for (const [key, { examples: questions = 0, documents = 0, exchanges = 0 }] of Object.entries(counts)) {
    const name = key.replace(/^documents of /, '').replace(/^squad-v.*$/, 'squad');
    examples.set(name, (examples.get(name) ?? 0) + questions + documents + exchanges);
  }
  return Array.from(examples, ([name, count]) => {
    const source = sources[name];
    if (source === undefined) throw new Error(`the licence of "${name}" is not known`);
    return { name, examples: count, ...source };
  });
}
