/** How a user names a model: a name of the catalogue, a path, or a file of a Hugging Face repository. */
import { join } from 'node:path';
import { Memory3Error } from '../errors.ts';
import type { HuggingFaceSource } from './catalogue.ts';

/** A file of a Hugging Face repository that a user named, with the checksum that the user may have pinned. */
export interface HuggingFaceReference extends HuggingFaceSource {
  readonly sha256: string | undefined;
}

const form = 'hf:owner/repository/path/to/file[@revision][#sha256=...]';

/** Whether a model's name is meant as a Hugging Face file. */
export function isHuggingFaceReference(name: string): boolean {
  return name.startsWith('hf:');
}

/**
 * Takes `hf:owner/repository/path/to/file[@revision][#sha256=...]` apart.
 *
 * @throws Memory3Error "usage" if it has another form.
 */
export function parseHuggingFaceReference(name: string): HuggingFaceReference {
  const match = /^hf:([^/@#]+)\/([^/@#]+)\/([^@#]+)(?:@([^#]+))?(?:#sha256=([0-9a-fA-F]{64}))?$/.exec(name);
  const [, owner = '', repository = '', path = '', revision = 'main', sha256] = match ?? [];
  // A segment of dots alone would leave the models folder.
  const segments = [owner, repository, ...path.split('/'), ...revision.split('/')];
  if (match === null || segments.some((segment) => !/^[\w.+ -]+$/.test(segment) || /^\.+$/.test(segment))) {
    throw new Memory3Error('usage', `"${name}" does not name a file on Hugging Face.`, { remedy: `Write ${form}.` });
  }
  return {
    kind: 'huggingface',
    repository: `${owner}/${repository}`,
    path,
    revision,
    sha256: sha256?.toLowerCase(),
  };
}

/** Where such a file is kept, below the models folder. */
export function huggingFaceFile(reference: HuggingFaceReference): string {
  return join('hf', ...reference.repository.split('/'), encodeURIComponent(reference.revision), reference.path);
}

/** The reference of another file at the top of the same repository and revision. */
export function siblingReference(name: string, file: string): string {
  const { repository, revision } = parseHuggingFaceReference(name);
  return `hf:${repository}/${file}@${revision}`;
}
