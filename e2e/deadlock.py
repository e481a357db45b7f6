"""Two transactions that change two users in opposite order; prints how often they ran in all."""

import threading

from project import create_app, db
from project.api.models import User
from project.database import in_transaction

attempts = 0
both_hold_one = threading.Barrier(2, timeout=20)


@in_transaction
def change(ids: list[int]) -> None:
    """Change two users; the first time, hold one until the other transaction holds the other."""
    global attempts
    attempts += 1
    first_time = attempts <= 2
    for user_id in ids:
        db.session.query(User).filter_by(id=user_id).update({"active": True})
        if first_time and user_id == ids[0]:
            both_hold_one.wait()


def run(ids: list[int]) -> None:
    """Change the users in an app context of this thread's own."""
    with app.app_context():
        change(ids)


app = create_app()
with app.app_context():
    for name in "ab":
        db.session.add(User(username=name, email=f"{name}@example.com"))
    db.session.commit()
threads = [threading.Thread(target=run, args=[ids]) for ids in ([1, 2], [2, 1])]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with app.app_context():
    assert db.session.query(User).filter_by(active=True).count() == 2
print("attempts:", attempts)
