"""The command for the words by which users are found."""

from project.api.users import service, word_index
from project.progress import progress_bar


def reindex() -> None:
    """Mend the words of users whose words do not match their name and address."""
    checked = mended = 0
    with progress_bar(service.count_users(), " users") as progress:
        for checked_now, mended_now in word_index.commit_mending():
            checked += checked_now
            mended += mended_now
            progress.update(checked_now)
    print(f"Users checked: {checked:,}. Mended: {mended:,}.")
