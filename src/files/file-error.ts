/** A file or folder that can't be read or written, with what to do about it. */
export class FileError extends Error {
  override name = 'FileError';
}

/** What went wrong with a file, in a word or two. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOENT':
      return 'no such file or folder';
    case 'EACCES':
    case 'EPERM':
      return 'no permission';
    case 'EISDIR':
      return 'a folder';
    case 'ENOTDIR':
      return 'a file where a folder should be';
    case 'ENOSPC':
      return 'no space left on the disk';
    default:
      return message;
  }
}
